-- Rows that others name are found, and deleted, without a look at every row that may name them.

-- Since 0018 no index led from a stack to all of its components, parts among them: a list of stacks read the whole table once for each.
create index components_stack on components (stack_id);

-- What retention deletes, and every delete looks for who names the row.
create index components_stable_release on components (stable_release_id) where stable_release_id is not null;
create index releases_build on releases (build_id) where build_id is not null;
create index rollouts_release on rollouts (release_id) where release_id is not null;
create index rollouts_from_release on rollouts (from_release_id) where from_release_id is not null;
drop index rollouts_build;
create index rollouts_build on rollouts (build_id) where build_id is not null;
create index stack_version_members_release on stack_version_members (release_id) where release_id is not null;
create index stack_version_members_rollout on stack_version_members (rollout_id) where rollout_id is not null;
create index tasks_release on tasks (release_id) where release_id is not null;
create index hooks_task on hooks (task_id) where task_id is not null;
create index builds_source on builds (source_id) where source_id is not null;
create index stack_version_members_component on stack_version_members (component_id);
create index config_versions_component on config_versions (component_id) where component_id is not null;
create index builds_artifact on builds (artifact_digest) where artifact_digest is not null;
