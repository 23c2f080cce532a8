-- What a restored or rebuilt database has to find out about the world before it may act on it.

-- When the epoch was last raised: what is older than that may be younger than this database's memory of it.
alter table installation add column raised_at timestamptz(3) not null default now();
-- What runs there has not been compared with the restored rows yet; no loop may touch it before that.
alter table clusters add column unadopted boolean not null default false;
update installation set raised_at = created_at;

-- It runs a release that this database does not know, made before the restore. It is left alone until somebody decides.
alter table components add column held boolean not null default false;
