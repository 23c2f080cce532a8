-- Changes that somebody makes by hand to what Berth put into a cluster.

-- Whether they are taken back, or only told.
alter table stacks add column drift text not null default 'repair' check (drift in ('repair', 'report'));
-- Those that were seen last.
alter table components add column drift jsonb not null default '[]';
