-- A year of an installation's life in a minute: every stack, component, release and what belongs to them is a copy of the one stack `template`, which was
-- deployed for real. Nothing of it runs: each component is stopped. `:stacks`, `:components` (of each) and `:releases` (of each) are numbers.

create temporary table template as
  select s.team_id, s.cluster_id, s.id as stack_id, r.*
  from stacks s join components c on c.stack_id = s.id join releases r on r.id = c.stable_release_id
  where s.name = 'template' and c.name = 'web';

insert into stacks (team_id, cluster_id, name, last_version, last_build, last_task, created_at)
  select team_id, cluster_id, 'stack-' || n, :releases, :releases * 2, 20, now() - n * interval '1 hour' from template, generate_series(0, :stacks - 1) n;
create temporary table new_stacks as select s.* from stacks s where s.name like 'stack-%';

insert into components (stack_id, name, kind, spec, replicas, stopped, last_release, last_rollout, state, observed_at)
  select s.id, 'c-' || n, c.kind, c.spec, 2, true, :releases, :releases, 'stopped', now()
  from new_stacks s, generate_series(0, :components - 1) n, template t join components c on c.id = t.component_id;
create temporary table new_components as select c.id, c.stack_id, c.name, s.name as stack, s.team_id, s.cluster_id from components c join new_stacks s on s.id = c.stack_id;
create index on new_components (id);

insert into internal_ports (component_id, cluster_id, name, port)
  select c.id, c.cluster_id, 'http', free.port
  from (select id, cluster_id, row_number() over (order by id) as place from new_components where right(name, 1) < '5') c
  -- The stack that is copied has a port of its own, anywhere in the range.
  join (select port, row_number() over (order by port desc) as place from generate_series(11000, 19999) port
        where port not in (select port from internal_ports)) free using (place);
insert into routes (component_id, cluster_id, port_name, host, is_default)
  select id, cluster_id, 'http', name || '.' || stack || '.example.com', true from new_components;
insert into volumes (stack_id, cluster_id, name) select id, cluster_id, 'data-' || n from new_stacks, generate_series(1, 2) n;
insert into credentials (stack_id, name, kind, ciphertext) select id, 'git', 'token', 'none' from new_stacks;
insert into secrets (stack_id, name, version, ciphertext, created_by)
  select id, 'SECRET_' || n, v, 'none', 'admin' from new_stacks, generate_series(1, 5) n, generate_series(1, 3) v;
insert into config_versions (stack_id, component_id, number, "values", created_by)
  select id, null, n, '{"LOG_LEVEL": "info", "REGION": "north"}', 'admin' from new_stacks, generate_series(1, 3) n;
insert into config_versions (stack_id, component_id, number, "values", created_by)
  select stack_id, id, n, '{"WORKERS": "4"}', 'admin' from new_components, generate_series(1, 2) n;

insert into sources (stack_id, principal, kind, digest, size, files, url, ref, revision, author, message, dirty, created_by, created_at)
  select s.id, o.principal, 'git', o.digest, o.size, o.files, 'https://git.example.com/' || s.name, 'main', md5(s.name || n), 'Somebody', 'Change number ' || n, false, 'admin', now() - n * interval '1 day'
  from new_stacks s, generate_series(1, :releases * 2) n, (select sources.* from sources join template t on t.stack_id = sources.stack_id limit 1) o;
insert into builds (stack_id, cluster_id, number, source_id, source_digest, context, build_key, phase, plan, steps, artifact_digest, created_by, queued_at, started_at, ended_at)
  select s.id, s.cluster_id, x.number, x.id, x.digest, '.', md5(s.name || x.number), case when x.number % 7 = 0 then 'failed' else 'succeeded' end, b.plan, b.steps, b.artifact_digest, 'admin', x.created_at, x.created_at, x.created_at
  from new_stacks s
  join (select sources.*, row_number() over (partition by stack_id order by created_at) as number from sources) x on x.stack_id = s.id,
  (select builds.* from builds join template t on t.build_id = builds.id) b;

insert into stack_versions (stack_id, number, reason, created_by, created_at)
  select id, n, 'up', 'admin', now() - n * interval '1 day' from new_stacks, generate_series(1, :releases) n;
insert into releases (component_id, number, hash, artifact_digest, build_id, config, secret_refs, spec, runtime, reason, created_by, created_at)
  select c.id, n, md5(c.id || '/' || n), t.artifact_digest, b.id, t.config, t.secret_refs, t.spec, t.runtime, 'up', 'admin', now() - (:releases - n) * interval '1 day'
  from new_components c, template t, generate_series(1, :releases) n, lateral (select id from builds where builds.stack_id = c.stack_id and builds.number = n) b;
update components c set stable_release_id = r.id from releases r where r.component_id = c.id and r.number = :releases and c.id in (select id from new_components);
insert into rollouts (component_id, cluster_id, number, version_id, phase, reason, build_id, release_id, spec, config, secret_refs, step, verified, progress, created_by, created_at, started_at, ended_at)
  select c.id, c.cluster_id, r.number, v.id, 'succeeded', 'up', r.build_id, r.id, r.spec, r.config, r.secret_refs, o.step, o.verified, o.progress, 'admin', r.created_at, r.created_at, r.created_at + interval '9 s'
  from new_components c join releases r on r.component_id = c.id join stack_versions v on v.stack_id = c.stack_id and v.number = r.number,
  (select rollouts.* from rollouts join template t on t.component_id = rollouts.component_id order by number desc limit 1) o;
insert into stack_version_members (version_id, component_id, rollout_id, release_id)
  select o.version_id, o.component_id, o.id, o.release_id from rollouts o where o.component_id in (select id from new_components);
insert into tasks (stack_id, component_id, cluster_id, number, release_id, phase, command, trigger, deadline, exit_code, created_by, created_at, started_at, ended_at)
  select c.stack_id, c.id, c.cluster_id, row_number() over (partition by c.stack_id order by n, c.name), r.id, 'succeeded', '{"shell": "bin/report"}', 'user', 3600000, 0, 'admin', now() - n * interval '1 hour', now() - n * interval '1 hour', now() - n * interval '1 hour'
  from new_components c join releases r on r.component_id = c.id and r.number = :releases, generate_series(1, 2) n;

-- Thirty events for each release: what a build and a rollout of two instances tell.
insert into events (at, code, params, topics, team_id, stack, component)
  select r.created_at + n * interval '300 ms', (array['rollout_phase', 'rollout_progress', 'instance_started', 'instance_ready', 'build_step', 'component_state'])[1 + n % 6],
    jsonb_build_object('rollout', r.number, 'phase', 'rolling', 'release', r.number, 'instance', c.name || '-' || n),
    array['stack:' || c.stack, 'component:' || c.stack || '/' || c.name, 'rollout:' || c.stack || '/' || c.name || '/' || r.number], c.team_id, c.stack, c.name
  from new_components c join releases r on r.component_id = c.id, generate_series(1, :events) n;
insert into audit (at, principal, action, object, params)
  select r.created_at, 'admin', 'components.deploy', c.stack || '/' || c.name, jsonb_build_object('release', r.number) from new_components c join releases r on r.component_id = c.id;
