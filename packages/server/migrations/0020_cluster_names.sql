-- Clusters may be called otherwise than they were added. All that Berth keeps goes on under the name in their row, which never changes; people say and see the other one.

-- Null: it is called as it was added.
alter table clusters add column called text;

-- All that clusters were called since: each of these leads to its cluster for as long as that is there, and to no other.
create table cluster_names (
  name text primary key,
  cluster_id uuid not null references clusters (id) on delete cascade,
  created_at timestamptz(3) not null default now()
);
create index cluster_names_cluster on cluster_names (cluster_id);

-- What servers remember of names is of all of them: one note stands for it, under an id that nothing has.
create function note_cluster_names() returns trigger language plpgsql as $$
begin
  insert into view_changes (of) values ('00000000-0000-0000-0000-000000000000') on conflict do nothing;
  return null;
end $$;
create trigger note_change after insert or delete or update on cluster_names for each row execute function note_cluster_names();
create trigger note_called after update of called on clusters for each row when (old.called is distinct from new.called) execute function note_cluster_names();
