-- Commands that run once at a certain point of a deployment, as tasks: `release` before a release goes live, `postdeploy` after a stack's first one.
-- The row is the promise that it is not started a second time: it stays when its task is forgotten (promise 2).

create table hooks (
  stack_id uuid not null references stacks (id) on delete cascade,
  -- `release/<artifact>` of one stack version, or `postdeploy/<context>` of the stack for ever.
  key text not null,
  version_id uuid references stack_versions (id) on delete cascade,
  task_id uuid references tasks (id) on delete set null,
  created_at timestamptz(3) not null default now(),
  unique nulls not distinct (stack_id, version_id, key)
);

alter table tasks drop constraint tasks_trigger_check, add constraint tasks_trigger_check check (trigger in ('user', 'schedule', 'release', 'postdeploy'));
alter table rollouts drop constraint rollouts_phase_check, add constraint rollouts_phase_check
  check (phase in ('building', 'waiting', 'releasing', 'preparing', 'rolling', 'verifying', 'reverting', 'succeeded', 'failed', 'aborted', 'superseded'));
