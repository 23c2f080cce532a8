-- Removal by tombstone: whatever is taken away from a cluster is named by a row here, with how new an object it may be.

-- The life of the installation in which it was decided: an object of a later one is not meant.
alter table tombstones add column epoch bigint not null default 1;
-- Whose it was, for the events about it; its stack may be gone.
alter table tombstones add column team_id uuid;
create index tombstones_ref on tombstones (cluster, kind, ref);

-- What was on its way out before removals had tombstones.
insert into tombstones (kind, cluster, ref, generation, epoch, team_id)
  select 'component', k.name, jsonb_build_object('stack', s.name, 'component', c.name), nextval('fences'), coalesce((select epoch from installation), 1), s.team_id
  from components c join stacks s on s.id = c.stack_id join clusters k on k.id = s.cluster_id where c.delete_requested_at is not null;
insert into tombstones (kind, cluster, ref, generation, epoch, team_id)
  select 'stack', k.name, jsonb_build_object('stack', s.name), nextval('fences'), coalesce((select epoch from installation), 1), s.team_id
  from stacks s join clusters k on k.id = s.cluster_id where s.delete_requested_at is not null;
insert into tombstones (kind, cluster, ref, generation, epoch, team_id)
  select 'volume', k.name, jsonb_build_object('stackId', v.stack_id, 'volume', v.name), nextval('fences'), coalesce((select epoch from installation), 1), s.team_id
  from volumes v join stacks s on s.id = v.stack_id join clusters k on k.id = v.cluster_id where v.delete_requested_at is not null;
