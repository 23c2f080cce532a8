-- What servers remember of what they show is of an instant; here stands what has changed since. Each transaction that changes what is shown of a thing leaves the thing's id, so
-- that a server asks one small question instead of reading everything anew. Never updated, read by the transaction's number, and removed some minutes later.
create table view_changes (
  xid xid8 not null default pg_current_xact_id(),
  -- A team's, cluster's, stack's or component's.
  of uuid not null,
  -- What could be seen then: that is how it is told which notes everybody has heard of.
  seen pg_snapshot not null default pg_current_snapshot(),
  at timestamptz not null default clock_timestamp(),
  primary key (xid, of)
);

create function note_itself() returns trigger language plpgsql as $$
begin
  insert into view_changes (of) values (coalesce(new.id, old.id)) on conflict do nothing;
  return null;
end $$;

create function note_component() returns trigger language plpgsql as $$
begin
  insert into view_changes (of) values (coalesce(new.id, old.id)), (coalesce(new.stack_id, old.stack_id)) on conflict do nothing;
  return null;
end $$;

create function note_of_component() returns trigger language plpgsql as $$
begin
  insert into view_changes (of) values (coalesce(new.component_id, old.component_id)) on conflict do nothing;
  return null;
end $$;

-- A stack shows the addresses of its components. One that goes with its component is noted by that.
create function note_route() returns trigger language plpgsql as $$
begin
  insert into view_changes (of)
    select c.id from components c where c.id = coalesce(new.component_id, old.component_id)
    union all select c.stack_id from components c where c.id = coalesce(new.component_id, old.component_id)
    on conflict do nothing;
  return null;
end $$;

-- What only counts, or is only remembered by the planner, is shown nowhere.
create trigger note_change after insert or delete or update of team_id, cluster_id, name, namespace, run_env, drift, revision, last_version, delete_requested_at, deleted_at, created_at, updated_at
  on stacks for each row execute function note_itself();
create trigger note_change after insert or delete or update of stack_id, part_of, cluster_id, name, kind, spec, replicas, stopped, restart, revision, last_rollout, stable_release_id, delete_requested_at, state, ready, cause, observed, observed_at, next_run_at, held, drift, created_at, updated_at
  on components for each row execute function note_component();
create trigger note_change after insert or delete or update of component_id, number, phase, ended_at on rollouts for each row execute function note_of_component();
create trigger note_change after insert or delete or update of component_id, number, hash, created_at on releases for each row execute function note_of_component();
create trigger note_change after insert or delete or update of component_id, looked_at, cause on image_looks for each row execute function note_of_component();
create trigger note_change after insert or delete or update on routes for each row execute function note_route();
create trigger note_change after insert or delete or update on internal_ports for each row execute function note_of_component();
create trigger note_change after update of name on teams for each row execute function note_itself();
create trigger note_change after update of name, domain on clusters for each row execute function note_itself();
