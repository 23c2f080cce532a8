// Notes of a plan: things that were understood and have no effect, or another one than expected. Codes with parameters; one sentence per code and language.
import { fill } from "./causes.ts";

export const notesEn = {
  // reading a Compose file
  compose_key_ignored: "`{key}` of {component} has no effect here: {instead}.",
  compose_variable_unset: "The variable {variable} is not set and counts as empty.",
  compose_name_changed: "The {what} {from} is called {to} here.",
  compose_profile_inactive: "{component} is left out: none of its profiles ({profiles}) is active.",
  compose_image_name: "{component} is built, so the image name {image} is not used.",
  compose_command_shell: "`{key}` of {component} is run by a shell, since it uses one.",
  compose_workdir_absolute: "`working_dir: {path}` of {component} belongs to a container; here it starts in the build's root.",
  compose_port_routed: "{component} is reached by its host name through the router, not at port {published}.",
  compose_port_internal: "Port {port} of {component} is open to its siblings only.",
  compose_port_variable: "PORT of {component} is set by Berth; the value in the file is not used.",
  compose_secret_variable: "{component} gets the secret {secret} as the environment variable {variable}, not as a file.",
  compose_config_variable: "{component} gets the config {config} as the environment variable {variable}, not as a file.",
  compose_volume_anonymous: "What {component} writes to {path} is gone with the instance; give the volume a name to keep it.",
  compose_link_alias: "{component} reaches {service} by its own name, not as {alias}.",
  // making a plan
  isolation_none:
    "This cluster cannot keep stacks apart from each other or from Berth (no root, no bubblewrap): run only code that you trust with everything here, or install bubblewrap.",
  isolation_uid_only:
    "Stacks run as users of their own on this cluster, but see the machine's files and processes; install bubblewrap to hide them.",
  volumes_env_only:
    "Volumes cannot be mounted on this cluster: programs find them by BERTH_VOLUME_<NAME> only. Install bubblewrap, or run Berth as root.",
  limits_missing:
    "These limits are not enforced on this cluster, since Berth may not write control groups there: {limits}. Run Berth as root, or let systemd delegate them (Delegate=yes).",
  swarm_not_manager:
    "The daemon of this cluster is no manager of a Swarm, and nothing can be started there: `docker swarm init` on it, or `docker node promote` on a manager.",
  limit_missing: "The {limit} limit of {component} is not enforced on this cluster: Berth may not write control groups there.",
  door_lacks: "{component} asks for {what}, which the gateway of this cluster does not do for Berth: it runs without.",
  release_command: "`{command}` runs once, before the new release of {components} starts; if it fails, nothing changes.",
  postdeploy_command: "`{command}` runs once, after the first release of {component}.",
  secret_generated: "{component} gets a random secret {secret} as {variable}.",
  component_not_in_file: "{component} runs, but is not in the file any more; `--prune` removes it.",
  // looking at what the database does not know
  adopt_no_record:
    "An older Berth started {component}, which kept no record of its release: deploy it again, or stop its processes by hand.",
  overlay_unused: "{component} has `x-berth.kubernetes`, which has no effect here: cluster {cluster} is not Kubernetes.",
  adopt_other_stack: "Another stack is called {stack} by now: remove that one first, or leave this one running as it is.",
  adopt_part: "It is a part of {component}, whose own cluster is {home}: it is taken over once what runs there was.",
  adopt_deleting: "Stack {stack} is being removed.",
  adopt_rollout: "A rollout of {component} is under way; it decides what runs.",
  adopt_refused: "{reason}",
  adopt_others: "{count} more instance(s), of release {releases}, run beside it; they leave as at the end of a rollout.",
  adopt_bundle_missing:
    "The bundle of {component} is not stored any more: it runs on, but has to be built again before it can be scaled or restarted.",
  // importing what others made in a cluster
  import_kind: "A {kind} cannot be imported: it stays as it is, and is no part of the stack.",
  import_field: "{path} has no place in a component: {reason}.",
  import_name: "{name} can be no component's name: those are DNS labels without `--`, of 40 characters at most.",
  import_name_taken: "{kind} {name} is in the way: Berth makes one of this name for the component.",
  import_component_taken: "The stack has a component {name} already, which is not this one.",
  import_managed:
    "{name} is managed by {tool}, which would undo what Berth does or be undone by it: take it off there first, then say `--managed`.",
  import_stopped: "{name} has no pods: what it runs is not known. Scale it up first.",
  import_unsettled: "{name} is on its way to something else, or paused: wait until all of its pods are of its newest template.",
  import_images: "The pods of {name} run different images of one name: restart it first, so that all run the same.",
  import_image: "The cluster does not say by which digest {image} runs in {name}: push it to a registry, and roll it out from there.",
  import_image_of_others:
    "{image} is kept by this Berth for what it builds, and no component may be made of it by its name: push it under another one.",
  import_autoscaled:
    "HorizontalPodAutoscaler {autoscaler} decides how many pods {name} has: remove it first, and give the component `x-berth.autoscale` afterwards.",
  import_service_shared: "Service {service} leads to pods of {name} and to others, such as {pod}: give each its own Service first.",
  import_secret_differs: "The secret {secret} of the stack says something else than what {name} runs with.",
  import_door_left:
    "{kind} {name} stays as it is and goes on leading to {component}, by its Service. Weights of a release do not count there.",
  import_labels: "The next release of {component} has no labels {labels} of its own: Berth writes those.",
  import_hardened:
    "From its next release on {component} gets no token of the cluster's API, no variables of other Services, and no raw sockets.",
  import_pause: "The pause of {component} before SIGTERM becomes Berth's own two seconds, after it was taken out of all Services.",
  import_busy: "It was not imported: {reason}",
  // what somebody changed by hand
  drifted: "{count} field(s) of it were changed by hand in the cluster, and are left so: `berth drift` shows them.",
  // certificates
  certificate_expired: "It expired on {until}: browsers refuse it. Give a new one with `berth certificates set`.",
  certificate_expires_soon: "It expires in {days} day(s), on {until}.",
  // a host, as those see it who run what it serves
  https_expired:
    "{host} cannot be reached over HTTPS: its certificate {certificate} expired on {until}. `berth certificates set {certificate}` puts a new one in its place.",
  https_expires_soon:
    "The certificate {certificate} of {host} expires in {days} day(s), on {until}. `berth certificates set {certificate}` puts a new one in its place.",
  https_not_renewed:
    "The certificate of {host} was not renewed and expires in {days} day(s), on {until}. `berth certificates show {host}` says why.",
  certificate_not_yet_valid: "It is not valid before {from}.",
  certificate_self_signed: "It is signed by its own key: only who was told to trusts it.",
  certificate_alone: "It came without the certificates that issued it: some programs refuse it unless they know its issuer themselves.",
} as const satisfies Record<string, string>;
export type NoteCode = keyof typeof notesEn;

/** A note's sentence; an unknown code (from a newer server) is shown as it is. */
export function renderNote(
  note: { readonly code: string; readonly params: Readonly<Record<string, string>> },
  catalogue: Readonly<Record<string, string>> = notesEn,
): string {
  return fill(catalogue[note.code] ?? note.code, note.params);
}
