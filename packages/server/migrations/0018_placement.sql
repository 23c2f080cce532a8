-- Components that run in several clusters: a row for the component in its stack's own cluster, and one for its part in each of the others.

-- Null: the component itself. A part has the same definition, its own number of instances, and what is seen of it in its cluster.
alter table components add column part_of uuid references components (id);
-- Of a part; null: the stack's.
alter table components add column cluster_id uuid references clusters (id);
alter table components drop constraint components_stack_id_name_key;
create unique index components_name on components (stack_id, name) where part_of is null;
create unique index components_part on components (part_of, cluster_id) where part_of is not null;
create index components_cluster on components (cluster_id) where cluster_id is not null;

-- The rollout of the same release in the cluster before; it begins when that has succeeded and `pause` ms have passed since.
alter table rollouts add column follows uuid;
alter table rollouts add column pause bigint not null default 0;
create index rollouts_follows on rollouts (follows) where follows is not null;
