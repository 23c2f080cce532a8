// Events and audit: what happened to a thing, and who did what. One watch stream carries many topics and can be resumed.
import { Type, type Static } from "typebox";
import { Cause } from "../causes.ts";
import { lists } from "../lists.ts";
import { facts, Instant, Name, PointInTime, Text } from "../names.ts";
import { ListQuery, Page, type Route } from "../route.ts";

/** `code` is a key of `eventsEn`; objects are named by `topic`: `stack:S`, `component:S/C`, `rollout:S/C/N`, `build:S/N`, `task:S/N`, `volume:S/V`, `certificate:HOST`, `registry:HOST`, `cluster:C`. */
export const Event = Type.Object(
  {
    id: Type.String({ description: "Also the SSE id; goes back as Last-Event-ID." }),
    at: Instant,
    code: Type.String(),
    params: Type.Record(Type.String(), Type.Unknown(), facts),
    topics: Type.Array(Type.String()),
    stack: Type.Optional(Name),
    component: Type.Optional(Name),
    cause: Type.Optional(Cause),
  },
  { additionalProperties: false, $id: "Event" },
);
export type Event = Static<typeof Event>;
export const AuditEntry = Type.Object(
  {
    seq: Type.Optional(Type.Integer()),
    at: Instant,
    principal: Type.String(),
    action: Type.String(),
    object: Type.String(),
    params: Type.Record(Type.String(), Type.Unknown()),
    requestId: Type.Optional(Type.String()),
    hash: Type.Optional(Type.String()),
  },
  { additionalProperties: false, $id: "AuditEntry" },
);
const Topics = Type.Optional(
  Type.String({
    maxLength: 8192,
    description: "Comma-separated topics; a trailing `*` matches the rest, e.g. `component:shop/*`. Absent = everything you may see.",
  }),
);
/** From the first instant on, and before the second. */
const Between = { since: Type.Optional(PointInTime), until: Type.Optional(PointInTime) };

export const eventRoutes = {
  listEvents: {
    method: "GET",
    path: "/events",
    summary: "List events, newest first",
    kind: "json",
    access: "signed-in",
    list: lists.events,
    query: ListQuery(lists.events, {
      topics: Topics,
      stack: Type.Optional(Name),
      component: Type.Optional(Name),
      code: Type.Optional(Text(100)),
      ...Between,
    }),
    response: Page(Event),
  },
  watch: {
    method: "GET",
    path: "/watch",
    summary: "Follow events of many topics; resumes after Last-Event-ID",
    kind: "events",
    access: "signed-in",
    query: Type.Object(
      { topics: Topics, after: Type.Optional(Text(100, { description: "Like Last-Event-ID; `0` = from the beginning." })) },
      { additionalProperties: false },
    ),
    response: Event,
  },
  listAudit: {
    method: "GET",
    path: "/audit",
    summary: "List audit entries, newest first",
    kind: "json",
    access: { permission: "audit.read", at: "installation" },
    list: lists.audit,
    query: ListQuery(lists.audit, {
      object: Type.Optional(Text(300)),
      principal: Type.Optional(Text(200)),
      action: Type.Optional(Text(100)),
      ...Between,
    }),
    response: Page(AuditEntry),
  },
} as const satisfies Record<string, Route>;

/** Every event there is. A test keeps emitters and catalogue equal. */
export const eventsEn = {
  stack_created: "Stack {stack} was created.",
  stack_updated: "Stack {stack} was changed.",
  stack_quota_set: "What stack {stack} may use in all was set.",
  stack_deleting: "Stack {stack} is being removed.",
  stack_deleted: "Stack {stack} was removed.",
  stack_version: "Version {version} of {stack} was made: {reason}.",
  component_created: "Component {component} was created.",
  component_updated: "Component {component} was changed.",
  component_deleting: "Component {component} is being removed.",
  component_deleted: "Component {component} was removed.",
  component_scaled: "{component} was scaled from {from} to {to}.",
  component_autoscale_set: "{component} is scaled by what its instances use, from {min} to {max}.",
  component_autoscale_off: "{component} is scaled by hand again, and keeps {replicas}.",
  component_autoscaled: "The autoscaler scaled {component} from {from} to {to}, for what its instances use.",
  cluster_renamed: "Cluster {from} is called {to} now.",
  component_placed: "{component} is placed in {clusters}.",
  component_leaving: "{component} leaves cluster {cluster}, where it is not placed any more.",
  component_left: "Nothing of {component} is left in cluster {cluster}.",
  component_restarting: "{component} is being restarted.",
  component_stopped: "{component} was stopped.",
  component_started: "{component} was started.",
  component_state: "{component} is {state}.",
  installation_restored: "A backup of {from} was restored.",
  component_adopted: "{component} was found running release {release} and was taken over as it runs.",
  component_held: "{component} runs release {release}, which this database does not know; it is left alone.",
  leftover_removed: "What turned up of {component} of {stack} after its removal was removed.",
  component_repaired: "{component} was repaired: {what}.",
  component_taken_back: "What was changed by hand of {component} was taken back: {what}. It was changed by {by}.",
  component_drifted: "{component} was changed by hand by {by}, and is left so: {what}.",
  component_as_wanted: "Nothing of {component} is changed by hand any more.",
  instance_started: "Instance {instance} of {component} started.",
  instance_ready: "Instance {instance} of {component} is ready.",
  instance_unready: "Instance {instance} of {component} is not ready.",
  instance_exited: "Instance {instance} of {component} ended: {how}.",
  instance_stopping: "Instance {instance} of {component} is being stopped.",
  source_created: "Source {revision} was stored.",
  build_queued: "Build {build} of {context} was queued.",
  build_started: "Build {build} of {context} started.",
  build_step: "Build {build}: {step} {state}.",
  build_succeeded: "Build {build} of {context} succeeded in {took}.",
  build_failed: "Build {build} of {context} failed.",
  build_cancelled: "Build {build} of {context} was cancelled.",
  release_created: "Release {release} of {component} was made.",
  rollout_created: "Rollout {rollout} of {component} was accepted.",
  rollout_phase: "Rollout {rollout} of {component}: {phase}.",
  rollout_progress: "Rollout {rollout} of {component}: {ready} of {wanted} ready.",
  image_pulling: "Rollout {rollout} of {component} waits for the image {image}, which is being pulled.",
  image_pull_stalled: "Nothing has come of the image {image} for {quiet}; rollout {rollout} of {component} still waits for it.",
  rollout_succeeded: "Rollout {rollout} of {component} succeeded: release {release} is live.",
  rollout_failed: "Rollout {rollout} of {component} failed.",
  rollout_aborted: "Rollout {rollout} of {component} was stopped by {by}.",
  rollout_superseded: "Rollout {rollout} of {component} gave way to rollout {by}.",
  config_changed: "Config of {scope} changed to version {version}.",
  secret_set: "Secret {secret} was set.",
  secret_generated: "Secret {secret} was made at random for {component}.",
  secret_deleted: "Secret {secret} was deleted.",
  volume_created: "Volume {volume} was created.",
  volume_restored: "Volume {volume} was filled from an archive.",
  volume_deleted: "Volume {volume} was deleted.",
  task_created: "Task {task} of {component} was accepted.",
  task_started: "Task {task} of {component} started.",
  task_ended: "Task {task} of {component} ended: {phase}.",
  certificate_issued: "{authority} gave a certificate for {host}, good until {until}.",
  certificate_failed: "{host} got no certificate from {authority}; it is tried again at {next}.",
  certificate_proof_left: "What proved {host} to the authority could not be taken back.",
  image_moved: "{image} of {component} was moved: {to} after {from}; {by} said so.",
  image_look_failed: "{image} of {component} could not be looked at.",
  registry_keeps_images:
    "{registry} deletes nothing that is pushed there: images that nobody needs any more have to be removed by its own means.",
  cron_missed: "A run of {component} at {scheduledFor} was missed.",
} as const;
export type EventCode = keyof typeof eventsEn;

/** For a build of the source itself, whose folder is `.` and has no name to say: whole sentences, so that each language can have its own. */
const ofTheSourceEn: Readonly<Record<string, string>> = {
  build_queued: "Build {build} was queued.",
  build_started: "Build {build} started.",
  build_succeeded: "Build {build} succeeded in {took}.",
  build_failed: "Build {build} failed.",
  build_cancelled: "Build {build} was cancelled.",
};

/** An event's sentence with `{param}` holes, or the code itself where a newer server's event is shown. */
export function eventTemplate({ code, params }: Pick<Event, "code" | "params">): string {
  const known: Readonly<Record<string, string>> = eventsEn;
  return (params["context"] === "." ? ofTheSourceEn[code] : undefined) ?? known[code] ?? code;
}
