// Why something failed, as a code with parameters. Sentences live in messages.en.ts; nothing here or in the database is prose.
import { Type, type Static } from "typebox";
import { facts } from "./names.ts";

/** One line of proof under a cause: a log line, an exit, a probe result. */
export const Evidence = Type.Object(
  {
    kind: Type.Union([
      Type.Literal("log"),
      Type.Literal("exit"),
      Type.Literal("probe"),
      Type.Literal("event"),
      Type.Literal("ports"),
      Type.Literal("file"),
    ]),
    at: Type.Optional(Type.String({ format: "date-time" })),
    text: Type.String({ maxLength: 4096 }),
  },
  { additionalProperties: false },
);
export type Evidence = Static<typeof Evidence>;

/** `code` is a key of the catalogue in messages.en.ts; `params` fill its sentence and its next step. */
export const Cause = Type.Object(
  {
    code: Type.String({ pattern: "^[a-z][a-z0-9_]*$" }),
    params: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()]), facts),
    evidence: Type.Array(Evidence, { maxItems: 50 }),
  },
  { additionalProperties: false, $id: "Cause" },
);
export type Cause = Static<typeof Cause>;

export function cause(code: CauseCode, params: Cause["params"] = {}, evidence: Evidence[] = []): Cause {
  return { code, params, evidence };
}

/** Every cause there is: sentence and next step, with `{param}` holes. One entry per language catalogue; a test keeps them equal. */
export const causesEn = {
  // instances
  exited_at_start: {
    sentence: "The process ended with exit code {exitCode}, {after} after it started{said}.",
    next: "Mend what ends it and deploy again; `berth logs` has everything that it printed.",
  },
  exited_zero: {
    sentence: "The process ended by itself with exit code 0; a {kind} component has to keep running.",
    next: "Start it so that it stays in the foreground; if it is meant to end, make it a cron component or run it as a task (`berth run`).",
  },
  killed_by_signal: {
    sentence: "The process was ended by {signal}, {after} after it started.",
    next: "SIGSEGV, SIGBUS, SIGILL and SIGABRT are the program's own crash, which its last lines may explain; SIGKILL and SIGTERM come from outside, SIGKILL mostly where memory ran out.",
  },
  out_of_memory: {
    sentence: "The process was killed because it used more than its {limit} of memory.",
    next: "Raise the component's memory limit (`deploy.resources.limits.memory` in compose.yaml) or make the program use less.",
  },
  heap_exhausted: { sentence: "{who} needed more memory than its runtime allows it: {line}.", next: "{how}" },
  disk_full: {
    sentence: "{who} could not write, because no space is left: {line}.",
    next: "Free some space where it writes; `berth doctor` says how much the disk of this installation has.",
  },
  host_disk_full: {
    sentence: "The disk of the containers' host is full: there was no room for {what}. {room}.",
    next: "Make room there: `docker system df` shows what takes it, `docker image prune` and `docker builder prune` remove what nobody uses; or give the daemon's folder a larger disk. A rollout that still waits goes on by itself; one that has failed is begun again by `berth rollouts retry`, its build included.",
  },
  machine_out_of_memory: {
    sentence: "The machine ran out of memory and ended the process, which used {used}.",
    next: "Give components a memory limit, run fewer of them here, or give the machine more memory.",
  },
  process_limit: {
    sentence: "The program could not start another process or thread: {limit} is its limit.",
    next: "Raise the component's limit of processes (`deploy.resources.limits.pids` in compose.yaml), or make the program start fewer.",
  },
  forked_away: {
    sentence: "The process ended with exit code 0 and left {left} running in the background, which Berth then ended too.",
    next: "Start the program in the foreground (many have an option such as `--no-daemon`), so that Berth can watch over it.",
  },
  command_not_found: {
    sentence: "The start command `{command}` was not found.",
    next: "Check the spelling, or add the program to the build.",
  },
  start_command_missing: {
    sentence: "Nothing says how to start {process}: no Procfile entry, start script or command.",
    next: "Add a Procfile line `{process}: <command>`, or set `command:` in compose.yaml.",
  },
  wrong_port: {
    sentence: "The process listens on port {actual}, but was told to listen on {expected} by $PORT.",
    next: "Listen on the port that the environment variable PORT names.",
  },
  not_listening: {
    sentence: "The process runs but listens on no port; {expected} was expected.",
    next: "Listen on 127.0.0.1 or 0.0.0.0 at the port that the environment variable PORT names. If it only needs longer, give it a startup probe; if it serves nobody, make it a worker.",
  },
  wrong_address: {
    sentence: "The process listens at {address} only, but is reached at {expected}.",
    next: "Listen on 127.0.0.1 or 0.0.0.0, at the port that the environment variable PORT names.",
  },
  port_taken: {
    sentence: "Port {port} is taken by {owner}.",
    next: "Stop that program or choose another port; programs should listen on the one that the environment variable PORT names.",
  },
  port_unavailable: { sentence: "Port {port} could not be opened: {reason}.", next: "Choose another port." },
  inner_address_unavailable: {
    sentence: "The address {address}, at which the other components of the stack reach this one, could not be opened: {reason}.",
    next: "End that program, then deploy again. For containers, `networks` in the server's config.json says which addresses Berth uses.",
  },
  never_ready: {
    sentence: "The instance never became ready: {check} failed {failures} times in {waited}, the last time with {last}.",
    next: "Find out from `berth logs` what it waits for; if it only needs longer, give it a startup probe; else mend the probe's path or port.",
  },
  liveness_failed: {
    sentence: "The instance was restarted because its liveness probe failed {failures} times: {last}.",
    next: "Find what blocks the program, or give the probe more time.",
  },
  crash_loop: {
    sentence: "The process keeps ending: {restarts} restarts, the last with {last}.",
    next: "Mend what ends it and deploy again, or roll back; `berth logs` has everything that it printed.",
  },
  volume_missing: {
    sentence: "Volume {volume} is gone: its folder {folder} is not there any more.",
    next: "Bring the folder back (is its disk mounted? is there a copy?), or begin with an empty volume: `mkdir {folder}` on the server's machine. Then deploy again.",
  },
  start_failed: { sentence: "The process could not be started: {reason}.", next: "Mend what the reason names and deploy again." },
  task_deadline: { sentence: "The run was ended after {waited}, its deadline.", next: "Give it a longer deadline or less to do." },
  run_lost: { sentence: "The run did not finish: {reason}.", next: "Look at its log to see how far it came, then run it again." },
  // rollouts
  deadline_exceeded: {
    sentence: "The rollout made no progress for {waited}: {ready} of {wanted} instances are ready.",
    next: "Look at `berth logs` and `berth status`, then retry or roll back.",
  },
  verify_failed: {
    sentence: "All instances are ready, but {url} answered {status} through the router.",
    next: "Open the URL and the logs; if that answer is right, point the readiness probe at a path that answers below 500.",
  },
  verify_wrong_release: {
    sentence: "{url} was answered by another release than the new one.",
    next: "Check that no other component claims the same host and path.",
  },
  dependency_failed: {
    sentence: "Component {component}, which this one needs, did not come up.",
    next: "Mend {component} first; `berth status` shows its cause.",
  },
  cluster_before_failed: {
    sentence: "{component} did not get its release in cluster {cluster}, and so in none after it.",
    next: "`berth rollouts show {rollout} -c {component}` says why. `berth rollouts retry -c {component}` begins again with the first cluster; `berth rollback {component}` takes back those that have it.",
  },
  cluster_before_unhealthy: {
    sentence: "{component} had {ready} of {wanted} instances ready in cluster {cluster} when the release was to go on to this one.",
    next: "`berth status` says what keeps them. `berth rollouts retry -c {component}` goes on when they are well; `berth rollback {component}` takes the release back.",
  },
  superseded: { sentence: "A newer rollout took over.", next: "Follow rollout {rollout} instead." },
  aborted: { sentence: "{by} stopped this rollout.", next: "`berth rollouts retry` starts it again." },
  env_missing: {
    sentence: "{component} needs {names}, which app.json says are required.",
    next: "`berth config set -c {component} NAME=value` or `berth secrets set` sets them; then deploy again.",
  },
  release_command_failed: {
    sentence: "The release command of {component} {how}, so nothing of the new release was started.",
    next: "`berth tasks logs {task}` has everything it printed; mend it and deploy again.",
  },
  restored: {
    sentence: "A backup of {from} was restored while this was under way.",
    next: "Look at what runs with `berth status`, and ask for it again if it is still wanted.",
  },
  unknown_release: {
    sentence: "It runs release {release}, which this database does not know: it was made after the backup that was restored.",
    next: "`berth adopt` takes it over as it runs; deploying or rolling back replaces it.",
  },
  secret_missing: { sentence: "Secret {secret} is not set.", next: "`berth secrets set {secret}` sets it; then deploy again." },
  secret_unreadable: {
    sentence:
      "The value of secret {secret} (version {version}) cannot be opened: the key that it is sealed with is not in the server's key file.",
    next: "`berth secrets set {secret}` sets it again, then deploy again; whoever runs the server can add the key if it is found (`berth server key`).",
  },
  artifact_missing: { sentence: "The bundle {digest} is no longer stored.", next: "Build it again: `berth deploy`." },
  cluster_unreachable: {
    sentence: "Cluster {cluster} does not answer: {reason}.",
    next: "`berth doctor` says what is wrong; the work waits and goes on when it answers.",
  },
  swarm_not_manager: {
    sentence: "The daemon {daemon} is asked to run services, and is no manager of a Swarm: {reason}.",
    next: "Make it one (`docker swarm init`, or `docker node promote` on a manager), or start the server without BERTH_SWARM; the work waits and goes on.",
  },
  // Kubernetes
  unschedulable: {
    sentence: "No node of the cluster takes the instance: {reason}.",
    next: "Ask for less (memory, CPU), remove what fills the cluster, or have an administrator add a node; it starts by itself as soon as one has room.",
  },
  cluster_quota_exceeded: {
    sentence: "The quota {quota} of the stack's namespace has no room: {asked} was asked for, {used} of {most} is used.",
    next: "Scale something down, ask for less, or have an administrator raise the quota; it is tried again by itself.",
  },
  admission_denied: {
    sentence: "The cluster refuses the instance by {by}: {reason}.",
    next: "Change what is refused (a security profile, a label, an image), or have an administrator of the cluster allow it; then deploy again.",
  },
  webhook_down: {
    sentence: "The cluster asks the webhook {webhook} before it takes anything, and that does not answer: {reason}.",
    next: "Have an administrator of the cluster mend or remove the webhook; the work goes on by itself then.",
  },
  cluster_rights_missing: {
    sentence: "The account {user} that Berth has in the cluster may not {verb} {resource}.",
    next: "Have an administrator of the cluster grant it: `berth clusters rbac` prints all that Berth needs.",
  },
  field_conflict: {
    sentence: "{field} is set by {manager}, and {count} fields in all are in conflict.",
    next: "Have whoever set it leave it to Berth (`kubectl` with its own field manager), or leave it out of the component.",
  },
  overlay_refused: { sentence: "The overlay over {kind} has {path}, which it may not have: {reason}.", next: "{way}" },
  object_refused: {
    sentence: "The cluster does not take the component as it is described: {reason}.",
    next: "Change what it names and deploy again.",
  },
  service_leads_elsewhere: {
    sentence: "Service {service}, which was imported with the component, leads to {pod}, which is not of what was imported.",
    next: "Undo what was changed of the Deployment since, or have the Service choose no pods but its own; then deploy again.",
  },
  namespace_of_others: {
    sentence: "The namespace {namespace} of cluster {cluster} was not made by this installation of Berth.",
    next: "Name the stack otherwise, or have an administrator of the cluster remove the namespace.",
  },
  route_refused: {
    sentence: "The gateway of the cluster does not serve {route}: {reason}.",
    next: "An administrator of the cluster finds more with `kubectl describe httproute {route}`; mostly the gateway does not take routes of this namespace or host.",
  },
  namespace_terminating: {
    sentence: "The namespace {namespace} is still being removed by its cluster{held}.",
    next: "Nothing has to be done: it is tried again by itself. When it stays, `kubectl get namespace {namespace} -o yaml` says what holds it.",
  },
  // builds
  build_failed: {
    sentence: "The build's `{step}` step failed with exit code {exitCode}: {line}",
    next: "Mend the error above and deploy again; `berth builds logs` has everything.",
  },
  build_out_of_memory: {
    sentence: "The build's `{step}` step was ended because it used more than {limit} of memory.",
    next: "Make the step use less memory, or give builds more: start the server with a higher BERTH_BUILD_MEMORY.",
  },
  build_process_limit: {
    sentence: "The build's `{step}` step could not start another process or thread: {limit} is the limit.",
    next: "Make the step run less at the same time.",
  },
  build_deadline: {
    sentence: "The build was stopped after {waited}, its deadline.",
    next: "Raise the stack's build deadline or make the build faster.",
  },
  host_unreachable: {
    sentence: "{host} could not be reached: {reason}.",
    next: "Check the name and this machine's network; where it needs a proxy or a mirror, the server has to be started with HTTPS_PROXY, npm_config_registry or the like.",
  },
  certificate_dates: {
    sentence: "The certificate of {host} {how}, going by this machine's clock.",
    next: "Check the clock of the server's machine (`berth doctor`, `date`) and set it; if it is right, that certificate has to be renewed.",
  },
  bundle_too_large: {
    sentence: "What the build made is larger than {limit}.",
    next: "Leave build results and data that the program does not need out of the folder, and deploy again.",
  },
  build_cancelled: { sentence: "{by} cancelled the build.", next: "`berth builds retry` starts it again." },
  tool_missing: { sentence: "This machine has no {tool}{wanted}.", next: "{how}" },
  tool_version: { sentence: "This machine has {tool} {found}, but the project asks for {wanted}.", next: "{how}" },
  plan_not_detected: { sentence: "Nothing in {dir} tells what kind of project it is.", next: "Add a Procfile, or one of: {known}." },
  plan_in_subfolder: {
    sentence: "Nothing in {dir} tells what kind of project it is, but {folders} look like projects.",
    next: "Choose one as build context: `build: {first}` in compose.yaml, or `berth deploy {first}`.",
  },
  outside_source: {
    sentence: "{file} needs {what}, which lies outside of the folder that was sent.",
    next: "Deploy from a git work tree that holds both, or run `berth up` in the folder above with `build: <this folder>` in its compose.yaml.",
  },
  manifest_invalid: { sentence: "{file} cannot be read: {reason}.", next: "Mend {file} and deploy again." },
  base_missing: {
    sentence: "The catalogue of base images has no {runtime}{wanted}; it has: {has}.",
    next: "Ask for a version that is there, or have an administrator add one to the catalogue.",
  },
  tool_not_in_images: {
    sentence: "The build needs {tool}, which {image} does not have and the catalogue of base images does not name.",
    next: "Write a Dockerfile that installs it, or have an administrator add it to the catalogue.",
  },
  base_image_missing: {
    sentence: "The base image {image} could not be had: {reason}",
    next: "Check its name, that the cluster's host reaches its registry, and that its credentials may pull it; `berth images build` makes those of the catalogue without a registry.",
  },
  image_step_failed: {
    sentence: "The image could not be built at `{instruction}`: {reason}",
    next: "Mend what the line above names and deploy again; `berth builds logs` has everything.",
  },
  dockerfile_step_failed: {
    sentence: "Line {line} of {file} failed, `{instruction}`: {reason}",
    next: "Mend that line and deploy again; `berth builds logs` has everything that it printed.",
  },
  dockerfile_unusable: { sentence: "{where} cannot be built: {reason}.", next: "Mend what the reason names and deploy again." },
  dockerfile_needs_buildkit: {
    sentence: "Line {line} of {file} has `{what}`, which this cluster's image builder does not understand.",
    next: "Have an administrator give this cluster a BuildKit builder, or write the line without it.",
  },
  image_builder_missing: {
    sentence: "Nothing here can build images: {engine} does not build by itself, and {missing}.",
    next: "Have an administrator install the package buildah on this machine, or name a BuildKit builder in BERTH_BUILDKIT; `berth doctor` tells when it is found.",
  },
  cluster_builder_missing: {
    sentence: "Nothing builds images for cluster {cluster}, which can only run what it pulls from a registry: {missing}.",
    next: "Have an administrator name a registry that this server may push to and the cluster pull from (BERTH_REGISTRY), on a server that builds images (BERTH_ENGINE=docker) or for a cluster that builds its own (`berth clusters add --builder`); or deploy an image that is built elsewhere.",
  },
  cluster_builder_unready: {
    sentence: "The builder of cluster {cluster} does not start: {reason}.",
    next: "Have an administrator look at it with `kubectl -n berth--builder describe pods`, and mend what the reason names; nothing that runs is touched.",
  },
  cluster_builder_lost: {
    sentence: "The builder of cluster {cluster} ended twice in the middle of this build: {reason}.",
    next: "If it was out of memory or disk, have an administrator give builds more of it (buildMemoryBytes, or `berth clusters add --builder-cache`); otherwise build again, `berth builds retry`.",
  },
  build_secrets_need_buildkit: {
    sentence: "{file} takes build secrets ({names}), which Docker's own builder cannot give to a step.",
    next: "Have an administrator give this cluster a BuildKit builder, which shows them to that step alone. A build argument is no place for a secret: it stays in the image's history.",
  },
  build_secret_missing: {
    sentence: "Line {line} of {file} requires the build secret {secret}, which is not set.",
    next: "Set it for this build, or take `required` away when the step can do without.",
  },
  dockerfile_needs_container_engine: {
    sentence: "{dir} has a Dockerfile, which the local engine cannot build.",
    next: "Deploy to a Docker or Kubernetes cluster, or add a Procfile (`web: <command>`) so that it runs as a process.",
  },
  dockerfile_missing: {
    sentence: "{dir} has no {file}, which was asked for as its Dockerfile.",
    next: "Correct `dockerfile:` in compose.yaml, or add the file.",
  },
  image_not_found: {
    sentence: "The image {image} is not there: its registry knows no such name, tag or digest.",
    next: "Check the name for typing errors and that it was pushed; then deploy again.",
  },
  image_denied: {
    sentence: "The registry of {image} refused to hand it out.",
    next: "Check that the name is right, and that there are credentials for this registry which may pull it: `berth registries list` shows for which there are any, `berth registries add` sets them.",
  },
  image_lost: {
    sentence: "The registry has {image} no more, and this host has no copy of it.",
    next: "Deploy it again from its source (`berth deploy`), or name an image that is there: nothing else brings it back.",
  },
  registry_unanswered: {
    sentence: "{registry} did not say what {image} stands for: {reason}.",
    next: "Nothing has to be done when it was away for a while: it is asked again by itself. If that goes on, see whether the server's machine reaches {registry}.",
  },
  registry_unreadable: {
    sentence: "{registry} does not hand out {image} to everybody, and the password that is kept for it cannot be opened on this server.",
    next: "Set it again with `berth registries add {registry}`, asked of this server; `berth doctor` says which keys are missing.",
  },
  image_of_others: {
    sentence: "Component {component} uses the image {image}, which Berth keeps there for the stack that it was built for.",
    next: "Give the component `build:` with the same source instead, or push the image to another place.",
  },
  image_push_denied: {
    sentence: "{image} was built, but its registry refused to take it.",
    next: "Have an administrator set credentials that may push there: `berth registries add {registry}`. Then deploy again: what was built is still there.",
  },
  image_push_failed: {
    sentence: "{image} was built, but could not be pushed: {reason}.",
    next: "See whether the server's host reaches {registry} (`berth doctor`), and whether it has room on its disk; then deploy again: what was built is still there.",
  },
  image_other_platform: {
    sentence: "The image {image} was not built for this machine's processor.",
    next: "Build and push it for this machine's processor too, or deploy to a cluster that has the other one.",
  },
  image_gone: {
    sentence: "The image {image} was built on this host and is not there any more.",
    next: "Build it again (`berth deploy`); images that were pushed to a registry outlive a cleaning of the host.",
  },
  image_pull_failed: {
    sentence: "The image {image} could not be pulled: {reason}.",
    next: "Check that the cluster's host reaches the registry and has room on its disk; the work is tried again by itself.",
  },
  stack_network_failed: {
    sentence: "The network of the stack could not be set up: {reason}.",
    next: "Berth's edge needs the rights to do that (root, or the capability NET_ADMIN) and the program `ip`; `berth doctor` says what is missing.",
  },
  image_needs_container_engine: {
    sentence: "Component {component} uses the image {image}, which the local engine cannot run.",
    next: "Give it `build:` instead, use an addon, or deploy to a Docker or Kubernetes cluster.",
  },
  git_auth_failed: { sentence: "{url} refused the credentials.", next: "Set a deploy key or token for the source and try again." },
  git_not_found: { sentence: "{url} has no ref {ref}, or is not there.", next: "Check URL and ref." },
  git_host_unknown: {
    sentence: "The host key of {host} is not known.",
    next: "Add it with `berth sources known-hosts add`, after comparing its fingerprint.",
  },
  git_failed: { sentence: "git could not fetch {url}: {reason}", next: "Mend what git reports and try again." },
  lockfile_outdated: { sentence: "{lockfile} does not match {manifest}.", next: "Run `{command}` and commit the result." },
  dependency_not_found: { sentence: "The package {package} was not found.", next: "Check its name and version in {manifest}." },
  // certificates that Berth gets by itself
  authority_unreachable: {
    sentence: "{authority} could not be asked for the certificate of {host}: {reason}.",
    next: "Check the directory's address and this machine's network; an authority of your own has to be in BERTH_ACME_CA_FILE. It is tried again by itself.",
  },
  authority_refused: {
    sentence: "{authority} refuses a certificate for {host}: {reason}.",
    next: "Mend what it names (the host's name, the account, the settings under `acme`), then `berth certificates renew {host}`.",
  },
  authority_rate_limited: {
    sentence: "{authority} gives no more certificates for {host} for now: {reason}.",
    next: "Nothing has to be done: it is tried again when the authority allows it.",
  },
  proof_unreachable: {
    sentence: "{authority} could not reach {host} to see that it leads here: {reason}.",
    next: "Point the host's DNS record at this machine, and let port 80 of it lead to the router; then `berth certificates renew {host}`.",
  },
  proof_wrong: {
    sentence: "{authority} was not given Berth's answer when it asked {host}: {reason}.",
    next: "Another machine answers for the host, or something between it and the router: mend its DNS record (AAAA, too) or the proxy, then `berth certificates renew {host}`.",
  },
  proof_name_unknown: {
    sentence: "{authority} does not find the name {host}: {reason}.",
    next: "Make its DNS record (or give the zone's servers time to have it), then `berth certificates renew {host}`.",
  },
  proof_not_offered: {
    sentence: "{authority} does not take {proof} as proof for {host}; it takes {offered}.",
    next: "Set BERTH_ACME_CHALLENGE to one of those, or give the certificate with `berth certificates set`.",
  },
  proof_hook_failed: {
    sentence: "The program {hook}, which sets the DNS record for {host}, {reason}.",
    next: "Its output is below. Mend it, then `berth certificates renew {host}`.",
  },
  certificate_unusable: {
    sentence: "{authority} gave a certificate for {host} that cannot be used: {reason}.",
    next: "Compare this machine's clock with the true time (`berth doctor`), and tell the authority's people.",
  },
  internal: {
    sentence: "Berth itself failed: {reason}.",
    next: "`berth doctor` and the server's log have more; please report it with the request id.",
  },
} as const satisfies Record<string, { sentence: string; next: string }>;
export type CauseCode = keyof typeof causesEn;

/** Renders a cause's sentence and next step; an unknown code (from a newer server) is shown as it is. */
export function renderCause(
  value: Cause,
  catalogue: Record<string, { sentence: string; next: string }> = causesEn,
): { sentence: string; next: string } {
  const entry = catalogue[value.code] ?? { sentence: value.code, next: "" };
  return { sentence: fill(entry.sentence, value.params), next: fill(entry.next, value.params) };
}

export function fill(template: string, params: Record<string, string | number | boolean>): string {
  return template.replace(/\{(\w+)\}/g, (hole, key: string) => (key in params ? String(params[key]) : hole));
}
