-- What every other table stands on: who this installation is, who may do what, what happened, and what is due.
-- minimum program: 0.1.0

-- One row. The id and the epoch also live outside the database; restoring a backup raises the epoch, so that a clone never
-- fights the original.
create table installation (
  only_one boolean primary key default true check (only_one),
  id uuid not null default gen_random_uuid(),
  epoch bigint not null default 1 check (epoch > 0),
  created_at timestamptz(3) not null default now()
);

-- Numbers of intent: every object that an engine makes carries one, and an engine refuses to act with an older one.
create sequence generations;
-- One number per claim of a due row, over all rows, so that a row that was removed and made again never repeats one.
create sequence fences;

-- People and what they may do -------------------------------------------------------------------------------------------

create table users (
  id uuid primary key default gen_random_uuid(),
  name text not null unique,
  created_at timestamptz(3) not null default now(),
  disabled_at timestamptz(3)
);

create table teams (
  id uuid primary key default gen_random_uuid(),
  name text not null unique,
  created_at timestamptz(3) not null default now()
);

create table team_members (
  team_id uuid not null references teams on delete cascade,
  user_id uuid not null references users on delete cascade,
  added_at timestamptz(3) not null default now(),
  primary key (team_id, user_id)
);
create index team_members_user on team_members (user_id);

create table roles (
  name text primary key,
  permissions text[] not null,
  builtin boolean not null default false
);

-- A role of a user: everywhere (no scope), in a team's stacks, or in one stack.
create table role_bindings (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references users on delete cascade,
  role text not null references roles on update cascade,
  team_id uuid references teams on delete cascade,
  stack_id uuid,
  created_at timestamptz(3) not null default now(),
  check (team_id is null or stack_id is null),
  unique nulls not distinct (user_id, role, team_id, stack_id)
);
create index role_bindings_stack on role_bindings (stack_id) where stack_id is not null;

-- Only the SHA-256 of a token's secret is kept; `prefix` finds the row.
create table api_tokens (
  id uuid primary key default gen_random_uuid(),
  prefix text not null unique,
  hash bytea not null,
  user_id uuid not null references users on delete cascade,
  name text not null,
  -- Permissions that the token carries at most; `*` is everything its user may do.
  scopes text[] not null,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3),
  last_used_at timestamptz(3),
  revoked_at timestamptz(3)
);
create index api_tokens_user on api_tokens (user_id, created_at desc, id desc);

-- One-time tokens that are traded for an API token.
create table login_tokens (
  hash bytea primary key,
  user_id uuid not null references users on delete cascade,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null,
  used_at timestamptz(3)
);

insert into roles (name, permissions, builtin) values
  ('administrator', '{*}', true),
  ('operator', '{stacks.create,stacks.read,stacks.write,runtime.operate,releases.deploy,secrets.write,terminal.open,volumes.delete,audit.read,users.read}', true),
  ('developer', '{stacks.create,stacks.read,stacks.write,runtime.operate,releases.deploy,secrets.write,terminal.open}', true),
  ('approver', '{stacks.read,orders.approve}', true),
  ('viewer', '{stacks.read}', true);

with team as (insert into teams (name) values ('default') returning id),
     administrator as (insert into users (name) values ('admin') returning id),
     member as (insert into team_members (team_id, user_id) select team.id, administrator.id from team, administrator)
insert into role_bindings (user_id, role) select id, 'administrator' from administrator;

-- What happened ---------------------------------------------------------------------------------------------------------

-- Read in the order (xid, id) and only below the oldest running transaction, an event is never skipped because it was
-- committed late. `topics` name the objects that it is about.
create table events (
  id bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz(3) not null default now(),
  code text not null,
  params jsonb not null default '{}',
  topics text[] not null default '{}',
  -- Whose it is: who may read the team's stacks may see it; without a team only who may see everything.
  team_id uuid,
  stack text,
  component text,
  cause jsonb
);
create index events_order on events (xid, id);
create index events_stack on events (stack, xid, id) where stack is not null;
create index events_at on events (at);
create index events_topics on events using gin (topics) with (fastupdate = off);

-- Who did what. Entries are appended without a number; one sealer numbers, chains and signs them.
create table audit (
  id uuid primary key default gen_random_uuid(),
  at timestamptz(3) not null default now(),
  principal text not null,
  action text not null,
  object text not null,
  params jsonb not null default '{}',
  request_id text,
  seq bigint unique,
  previous_hash text,
  hash text,
  signature text,
  key_id text,
  sealed_at timestamptz(3),
  check ((seq is null) = (hash is null) and (seq is null) = (signature is null) and (seq is null) = (sealed_at is null))
);
create index audit_unsealed on audit (at, id) where seq is null;
create index audit_at on audit (at desc, id desc);
create index audit_object on audit (object, at desc, id desc);
create index audit_principal on audit (principal, at desc, id desc);

-- A slip of Berth's own code must not rewrite history; against somebody with the database's password the chain protects.
create function audit_is_append_only() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and old.seq is null and new.seq is not null
     and (new.id, new.at, new.principal, new.action, new.object, new.params, new.request_id)
         is not distinct from (old.id, old.at, old.principal, old.action, old.object, old.params, old.request_id) then
    return new;
  end if;
  raise exception 'audit entries are never changed or removed';
end $$;
create trigger audit_append_only before update or delete on audit for each row execute function audit_is_append_only();
create trigger audit_no_truncate before truncate on audit for each statement execute function audit_is_append_only();

-- What is due -----------------------------------------------------------------------------------------------------------

-- The reconcile queue: one row per thing to look at. `due_at` is null while a worker holds the row and nobody asked again.
create table due (
  kind text not null,
  key text not null,
  cluster text not null,
  -- Not rounded to milliseconds: what is due now must not be due half a millisecond later.
  due_at timestamptz,
  lease_holder text,
  lease_until timestamptz,
  fence bigint not null default 0,
  -- Claims since the last one that ended well.
  attempts integer not null default 0,
  last_error text,
  last_error_at timestamptz(3),
  enqueued_at timestamptz(3) not null default now(),
  primary key (kind, key),
  check ((lease_holder is null) = (lease_until is null))
);
create index due_free on due (due_at) where lease_holder is null and due_at is not null;
create index due_leased on due (lease_until) where lease_holder is not null;

-- Nothing is removed because it is unknown: only what has a row here, written when a person or a rule decided it.
create table tombstones (
  id bigint generated always as identity primary key,
  kind text not null,
  cluster text not null,
  ref jsonb not null,
  generation bigint not null,
  made_at timestamptz(3) not null default now(),
  done_at timestamptz(3)
);
create index tombstones_open on tombstones (cluster, kind, id) where done_at is null;
create index tombstones_done on tombstones (done_at) where done_at is not null;

-- Answers to creates that carried an Idempotency-Key; without a status the first request is still being worked on.
create table idempotency (
  principal text not null,
  key text not null,
  request_hash text not null,
  attempt uuid not null,
  status integer,
  response jsonb,
  at timestamptz(3) not null default now(),
  busy_until timestamptz(3) not null,
  primary key (principal, key)
);
create index idempotency_at on idempotency (at);
