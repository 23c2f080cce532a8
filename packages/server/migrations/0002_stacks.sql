-- Stacks, what they are made of, and every step of bringing it live. Each long step (build, rollout, task) is a row that another process can take over.
-- Numbers that people see (build 3, release 7) come from counters on the owner's row, taken under its row lock, so that they have no gaps and no duplicates.
-- Instants have milliseconds, as the API shows them, so that a page cursor made from one compares exactly.

create table clusters (
  id uuid primary key default gen_random_uuid(),
  name text not null unique,
  engine text not null check (engine in ('local', 'docker', 'kubernetes')),
  config jsonb not null default '{}',
  created_at timestamptz(3) not null default now()
);

create table stacks (
  id uuid primary key default gen_random_uuid(),
  team_id uuid not null references teams (id),
  cluster_id uuid not null references clusters (id),
  name text not null unique,
  run_env text not null default 'production',
  revision bigint not null default 1,
  last_version integer not null default 0,
  last_build integer not null default 0,
  last_task integer not null default 0,
  delete_requested_at timestamptz(3),
  delete_volumes boolean not null default false,
  -- A deleted stack's row stays while volumes of it are kept; creating the stack again revives it, with its volumes.
  deleted_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);
create index stacks_team on stacks (team_id, name);

create table components (
  id uuid primary key default gen_random_uuid(),
  stack_id uuid not null references stacks (id),
  name text not null,
  kind text not null,
  spec jsonb not null,
  replicas integer not null,
  stopped boolean not null default false,
  restart integer not null default 0,
  revision bigint not null default 1,
  last_release integer not null default 0,
  last_rollout integer not null default 0,
  stable_release_id uuid,
  delete_requested_at timestamptz(3),
  -- What was seen last; a hint for lists, never the base of a decision.
  state text not null default 'new',
  ready integer not null default 0,
  cause jsonb,
  observed jsonb not null default '{"instances": []}',
  observed_at timestamptz(3),
  -- The planner's memory: which instances drain since when, and the traffic entry last asked for.
  memory jsonb not null default '{}',
  next_run_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  unique (stack_id, name)
);

-- The stable loopback port at which siblings reach a component's port.
create table internal_ports (
  component_id uuid not null references components (id) on delete cascade,
  cluster_id uuid not null references clusters (id),
  name text not null,
  port integer not null,
  primary key (component_id, name),
  unique (cluster_id, port)
);

create table routes (
  component_id uuid not null references components (id) on delete cascade,
  cluster_id uuid not null references clusters (id),
  port_name text not null,
  host text not null,
  path text not null default '/',
  is_default boolean not null,
  primary key (cluster_id, host, path)
);
create index routes_component on routes (component_id);

create table published_ports (
  component_id uuid not null references components (id) on delete cascade,
  cluster_id uuid not null references clusters (id),
  port_name text not null,
  port integer not null,
  primary key (cluster_id, port)
);
create index published_ports_component on published_ports (component_id);

create table volumes (
  id uuid primary key default gen_random_uuid(),
  stack_id uuid not null references stacks (id),
  cluster_id uuid not null references clusters (id),
  name text not null,
  created_at timestamptz(3) not null default now(),
  delete_requested_at timestamptz(3),
  unique (stack_id, name)
);

create table credentials (
  stack_id uuid not null references stacks (id) on delete cascade,
  name text not null,
  kind text not null,
  ciphertext text not null,
  updated_at timestamptz(3) not null default now(),
  primary key (stack_id, name)
);

create table known_hosts (
  line text primary key,
  created_at timestamptz(3) not null default now()
);

-- An upload for a stack that does not exist yet belongs to who uploaded it, until a plan that uses it is applied.
create table sources (
  id uuid primary key default gen_random_uuid(),
  stack_id uuid references stacks (id) on delete cascade,
  principal text not null,
  kind text not null check (kind in ('upload', 'git')),
  digest text not null,
  size bigint not null,
  files integer not null,
  url text, ref text, revision text, author text, message text, dirty boolean,
  created_by text not null,
  created_at timestamptz(3) not null default now()
);
create index sources_stack on sources (stack_id, created_at desc, id);
create index sources_digest on sources (digest);

-- An artifact is shared by every build that yields the same bytes.
create table artifacts (
  digest text primary key,
  kind text not null check (kind in ('bundle', 'image')),
  size bigint not null,
  created_at timestamptz(3) not null default now()
);

create table builds (
  id uuid primary key default gen_random_uuid(),
  stack_id uuid not null references stacks (id) on delete cascade,
  cluster_id uuid not null references clusters (id),
  number integer not null,
  source_id uuid references sources (id) on delete set null,
  source_digest text not null,
  context text not null,
  -- What the outcome depends on: source, root, back end and build arguments. The same key reuses a succeeded build's artifact.
  build_key text not null,
  options jsonb not null default '{}',
  phase text not null default 'queued' check (phase in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  plan jsonb,
  steps jsonb not null default '[]',
  artifact_digest text references artifacts (digest),
  log_digest text,
  cause jsonb,
  cancel_requested_by text,
  attempts integer not null default 0,
  created_by text not null,
  queued_at timestamptz(3) not null default now(),
  started_at timestamptz(3),
  ended_at timestamptz(3),
  unique (stack_id, number)
);
create index builds_open on builds (phase) where phase in ('queued', 'running');
create index builds_key on builds (stack_id, build_key) where phase = 'succeeded';

create table config_versions (
  id uuid primary key default gen_random_uuid(),
  stack_id uuid not null references stacks (id) on delete cascade,
  component_id uuid references components (id) on delete cascade,
  number integer not null,
  "values" jsonb not null,
  created_by text not null,
  created_at timestamptz(3) not null default now(),
  unique nulls not distinct (stack_id, component_id, number)
);

create table secrets (
  stack_id uuid not null references stacks (id) on delete cascade,
  name text not null,
  version integer not null,
  ciphertext text not null,
  created_by text not null,
  created_at timestamptz(3) not null default now(),
  primary key (stack_id, name, version)
);

create table releases (
  id uuid primary key default gen_random_uuid(),
  component_id uuid not null references components (id) on delete cascade,
  number integer not null,
  hash text not null,
  artifact_digest text not null references artifacts (digest),
  build_id uuid references builds (id) on delete set null,
  config jsonb not null,
  secret_refs jsonb not null,
  spec jsonb not null,
  -- From the build plan: command chosen, its environment and runtimes.
  runtime jsonb not null,
  reason text not null,
  created_by text not null,
  created_at timestamptz(3) not null default now(),
  unique (component_id, number)
);
create index releases_artifact on releases (artifact_digest);
alter table components add foreign key (stable_release_id) references releases (id);

create table stack_versions (
  id uuid primary key default gen_random_uuid(),
  stack_id uuid not null references stacks (id) on delete cascade,
  number integer not null,
  reason text not null,
  created_by text not null,
  created_at timestamptz(3) not null default now(),
  unique (stack_id, number)
);

create table rollouts (
  id uuid primary key default gen_random_uuid(),
  component_id uuid not null references components (id) on delete cascade,
  cluster_id uuid not null references clusters (id),
  number integer not null,
  version_id uuid references stack_versions (id) on delete set null,
  phase text not null check (phase in ('building', 'waiting', 'preparing', 'rolling', 'verifying', 'reverting', 'succeeded', 'failed', 'aborted', 'superseded')),
  reason text not null,
  build_id uuid references builds (id) on delete set null,
  release_id uuid references releases (id) on delete set null,
  from_release_id uuid references releases (id) on delete set null,
  -- The intent, complete from the start: what the release will be made of once its build ended.
  spec jsonb not null,
  config jsonb not null,
  secret_refs jsonb not null,
  waits_for uuid[] not null default '{}',
  step jsonb,
  verified jsonb,
  cause jsonb,
  abort_requested_by text,
  ends_as text check (ends_as in ('failed', 'aborted')),
  progress jsonb not null default '{}',
  created_by text not null,
  created_at timestamptz(3) not null default now(),
  started_at timestamptz(3),
  ended_at timestamptz(3),
  unique (component_id, number)
);
create unique index rollouts_one_open on rollouts (component_id, cluster_id) where ended_at is null;
create index rollouts_build on rollouts (build_id) where ended_at is null;
create index rollouts_waits on rollouts using gin (waits_for) where ended_at is null;

create table stack_version_members (
  version_id uuid not null references stack_versions (id) on delete cascade,
  component_id uuid not null references components (id) on delete cascade,
  rollout_id uuid references rollouts (id) on delete set null,
  release_id uuid references releases (id) on delete set null,
  primary key (version_id, component_id)
);

create table plans (
  id uuid primary key default gen_random_uuid(),
  stack_name text not null,
  principal text not null,
  body jsonb not null,
  stack_revision bigint not null,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null
);
create index plans_expiry on plans (expires_at);

create table tasks (
  id uuid primary key default gen_random_uuid(),
  stack_id uuid not null references stacks (id) on delete cascade,
  component_id uuid not null references components (id) on delete cascade,
  cluster_id uuid not null references clusters (id),
  number integer not null,
  release_id uuid references releases (id) on delete set null,
  phase text not null default 'queued' check (phase in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'missed')),
  command jsonb not null,
  trigger text not null check (trigger in ('user', 'schedule')),
  scheduled_for timestamptz(3),
  deadline integer not null,
  exit_code integer,
  signal text,
  cause jsonb,
  cancel_requested_by text,
  created_by text not null,
  created_at timestamptz(3) not null default now(),
  started_at timestamptz(3),
  ended_at timestamptz(3),
  unique (stack_id, number),
  unique (component_id, scheduled_for)
);
create index tasks_component on tasks (component_id, number desc);
create index tasks_open on tasks (phase) where phase in ('queued', 'running');
