// The two ports over which the planner acts: Engine (what runs) and Traffic (who is sent to it).
// An engine makes no product decisions: it makes what it is told so, and reports what it sees. It never imports db, http or another engine.
import type { Duplex, Readable } from "node:stream";
import type { Cause } from "@berth/contract/causes.ts";
import type { Overlays } from "@berth/contract/overlay.ts";
import type { Command, ComponentKind, ComponentSpec, Port, Probe, VolumeMount } from "@berth/contract/spec.ts";
import type { Foreign } from "../core/imports/foreign.ts";
import type { ServiceChange } from "../core/imports/services.ts";
import type { Refusal } from "../core/overlay/overlay.ts";

/** Which component of which stack, on the cluster that the engine drives. Names are DNS labels. */
export interface Ref {
  readonly stack: string;
  readonly component: string;
  /** Of its cluster, where its stack was imported: the one that its objects were found in. Absent: one that Berth makes for the stack. */
  readonly namespace?: string;
}

/** Of a component of a stack, as its row has it. */
export const refOf = (stack: { readonly name: string; readonly namespace?: string | null }, component: string): Ref => ({
  stack: stack.name,
  component,
  ...(stack.namespace == null ? {} : { namespace: stack.namespace }),
});

/** Carried by every object that an engine makes. An engine refuses (`stale_generation`) to act with an older epoch or, for the same ref, an older generation. */
export interface Fence {
  readonly installation: string;
  readonly epoch: number;
  readonly generation: number;
}

/** Which life of an installation: a restored database has a higher epoch than the one that it replaces. */
export type Epoch = Pick<Fence, "installation" | "epoch">;

export type DoorFeature = "published ports" | "request limits" | "redirects to HTTPS";

export interface Capabilities {
  readonly reachable: boolean;
  readonly version: string;
  /** `uid`: own user per stack; `namespace`: own view of files and processes; `none`: serves one team only. */
  readonly isolation: readonly ("uid" | "namespace" | "cgroup" | "none")[];
  readonly tcp: boolean;
  readonly weights: boolean;
  /** What components may ask of the door that users come in by, and this one does not do. Absent: nothing. */
  readonly doorLacks?: readonly DoorFeature[];
  /** `mount`: volumes appear at their absolute path; `env`: only by `BERTH_VOLUME_<NAME>`. */
  readonly volumes: "mount" | "env";
  readonly limits: { readonly memory: boolean; readonly cpu: boolean; readonly processes: boolean };
  /** Sentences' codes for what is missing, for `berth doctor` and the plan. */
  readonly notices: readonly { readonly code: string; readonly params: Record<string, string> }[];
}

/** One release of one component, complete: everything an engine needs to run it, with secrets resolved. Never logged. */
export interface Workload {
  readonly ref: Ref;
  readonly stackId: string;
  readonly kind: ComponentKind;
  /** `sha256:...` over artifact, config, secret references and spec; written on every instance. */
  readonly releaseHash: string;
  readonly releaseNumber: number;
  readonly artifact:
    | { readonly kind: "bundle"; readonly digest: string }
    | { readonly kind: "image"; readonly reference: string; readonly entrypoint?: readonly string[] };
  /** The program: process type or `command`, already chosen. Of an image: what follows its entry point; no words = what the image says. */
  readonly command: Command;
  /** Relative to the artifact's root; `.` when absent. */
  readonly workdir: string;
  /** From the artifact, below `env`: `$ROOT` stands for the folder that the artifact lies in, `$PATH` for the engine's own PATH. */
  readonly artifactEnv: Readonly<Record<string, string>>;
  /** Everything but PORT and volume paths, which the engine adds. */
  readonly env: Readonly<Record<string, string>>;
  /** Values in `env` that must be masked in logs. */
  readonly secretValues: readonly string[];
  readonly ports: readonly Port[];
  readonly volumes: readonly VolumeMount[];
  readonly resources: ComponentSpec["resources"];
  readonly probes: { readonly startup?: Probe; readonly readiness?: Probe; readonly liveness?: Probe };
  readonly restart: ComponentSpec["restart"];
  readonly gracePeriod: number;
  readonly securityProfile: ComponentSpec["securityProfile"];
  /** Parts of objects of a Kubernetes cluster that are merged over what is rendered; other places make nothing of them. */
  readonly kubernetes?: Overlays;
  /** Runtimes that the artifact asks for: tool name -> folder to put first on PATH is the engine's choice. */
  readonly tools: readonly { readonly name: string; readonly wanted: string }[];
  /** What this release is made of, for whoever has to rebuild it when the database is lost (promise 7). Engines keep it beside each instance and never look inside. */
  readonly record?: Readonly<Record<string, unknown>>;
}

/** An instance with the order that it was started by. Holds secrets, as a workload does: never logged. */
export interface InstanceRecord {
  readonly id: string;
  readonly ref: Ref;
  readonly track: TrackTarget["track"];
  readonly restart: number;
  /** RFC 3339 */ readonly createdAt: string;
  readonly stopping: boolean;
  readonly workload: Workload;
}

/** Tells one wave of instances of the same release from the next: raised by `restart`. */
export interface Revision {
  readonly releaseHash: string;
  readonly restart: number;
}

export interface TrackTarget {
  readonly ref: Ref;
  readonly track: "stable" | "candidate";
  readonly workload: Workload;
  readonly restart: number;
  /** At least this many instances of exactly this revision exist afterwards (missing ones are started). `ensure` never stops an instance. */
  readonly replicas: number;
  /** Ids of instances of this revision that are on their way out (still draining): not counted. */
  readonly leaving?: readonly string[];
}

export type InstancePhase = "starting" | "running" | "stopping" | "backoff" | "exited";

export interface ProbeRecord {
  readonly at: string;
  readonly probe: "startup" | "readiness" | "liveness";
  readonly ok: boolean;
  readonly detail: string;
}

export interface Instance {
  readonly id: string;
  readonly track: "stable" | "candidate";
  readonly revision: Revision;
  readonly releaseNumber: number;
  readonly phase: InstancePhase;
  /** Startup and readiness passed, and not since failed. */
  readonly ready: boolean;
  /** Since when without a break, RFC 3339. */
  readonly readySince?: string;
  readonly startedAt?: string;
  /** How often the process was started again by the engine itself. */
  readonly restarts: number;
  /** Port name -> address where the edge reaches it. */
  readonly addresses: Readonly<Record<string, { readonly host: string; readonly port: number }>>;
  readonly pid?: number;
  readonly lastExit?: {
    readonly at: string;
    readonly exitCode?: number;
    readonly signal?: string;
    readonly ranFor: number;
    readonly outOfMemory: boolean;
    /** Why that run ended; known as well when the next one is ready already. */
    readonly cause?: Cause;
  };
  /** Why it is not ready, when that is known. */
  readonly cause?: Cause;
  /** What it is started from is gone, and it cannot start again: `prepare` gives that back. */
  readonly unprepared?: true;
  readonly probes: readonly ProbeRecord[];
}

/** Between which numbers a place decides by itself how many instances of a revision run: as many as each of them uses these amounts on average. */
export interface Autoscaling {
  readonly revision: Revision;
  readonly min: number;
  readonly max: number;
  /** Thousandths of a core. */
  readonly cpu?: number;
  /** bytes */
  readonly memory?: number;
}

export interface Observed {
  readonly ref: Ref;
  readonly fence: Fence;
  /** As long as the place decides by itself how many there are: what it was told, and how many it wants now. */
  readonly autoscaled?: { readonly replicas: number; readonly how: Autoscaling };
  readonly instances: readonly Instance[];
}

export interface LogLine {
  readonly at: string;
  readonly instance: string;
  readonly stream: "stdout" | "stderr" | "berth";
  readonly text: string;
  /** Opaque position for resuming after this line. */
  readonly cursor: string;
}
export interface LogOptions {
  readonly instance?: string;
  /** Only the last so many lines before following. */
  readonly tail?: number;
  readonly since?: string;
  readonly after?: string;
  readonly follow: boolean;
}

export interface Session {
  readonly stream: Duplex;
  resize(columns: number, rows: number): void;
  readonly exit: Promise<{ readonly exitCode?: number; readonly signal?: string }>;
}

export interface TaskRun {
  /** Unique for ever: an engine that saw this id never starts it again. */
  readonly id: string;
  readonly workload: Workload;
  readonly command: Command;
  readonly deadline: number;
  readonly tty: boolean;
}
export interface TaskState {
  readonly id: string;
  readonly phase: "running" | "succeeded" | "failed";
  readonly exitCode?: number;
  readonly signal?: string;
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly cause?: Cause;
}

export interface Usage {
  readonly ref: Ref;
  readonly instance: string;
  readonly at: string;
  readonly cpuSeconds: number;
  readonly memory: number;
  readonly processes: number;
}

export interface VolumePort {
  list(
    stack: string,
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly bytes: number; readonly usedBy: readonly string[] }[]>;
  /** Deletes the content for good; absent = success. */
  remove(stack: string, name: string, signal: AbortSignal): Promise<void>;
  /**
   * The content as a tar archive, while it is read: names begin with `./`. Of one that is in use, each file is in it as it was at its moment. Whoever asked reads or destroys
   * the stream. Errors: `not_found` when there is no content yet, `wrong_state` where it is out of reach.
   */
  snapshot(stack: string, name: string, signal: AbortSignal): Promise<Readable>;
  /**
   * Puts an archive's content into a volume, which is made when it is not there; all of it or nothing. Errors: `volume_not_empty`, `volume_in_use`, `archive_refused`, `storage_full`,
   * `wrong_state` where it is out of reach or under way already.
   */
  restore(volume: VolumeRef, archive: Readable, signal: AbortSignal): Promise<void>;
}

/** `stack`: the stack's id, `stackName` what people call it. */
export interface VolumeRef {
  readonly stack: string;
  readonly stackName: string;
  readonly name: string;
  /** As of Ref. */
  readonly namespace?: string;
}

/** A field of what an engine put into its place that somebody else made otherwise. */
export interface Difference {
  /** Kind and name. */
  readonly object: string;
  /** As in `spec.template.spec.containers[web].image`. */
  readonly path: string;
  /** JSON of it, or the text itself; absent: Berth has none there. */
  readonly wanted?: string;
  /** Absent: it was taken away. */
  readonly found?: string;
  /** The program that owns the field, as its place names it; absent: nobody knows. */
  readonly by?: string;
  /** RFC 3339 */ readonly at?: string;
}

export interface Drift {
  readonly differences: readonly Difference[];
  /** The place carries out a change by itself: until that is over, instances come and go that nobody ordered. */
  readonly turning: boolean;
  /** How many instances somebody else asked for; `others`: a program whose business that is, such as an autoscaler. */
  readonly scaled?: { readonly replicas: number; readonly others: boolean };
}

/** An object as it is applied in a place; `hidden`: what was left out of its body, as values of secrets are. */
export interface Rendered {
  readonly name: string;
  readonly body: unknown;
  readonly hidden?: readonly string[];
}

/** Why an overlay may not be applied as it is, and of which kind of object it speaks. */
export interface OverlayRefusal extends Refusal {
  readonly kind: string;
}

export interface ResolvedImage {
  /** A name with a digest, or the id of an image that no registry has. */
  readonly reference: string;
  /** `sha256:...` of either. */
  readonly digest: string;
  /** bytes; 0 = not known */ readonly size: number;
}

/** A Deployment that somebody else made, and what it is from now on. */
export interface TakeIn {
  /** As its release says it; its ref names the namespace. */
  readonly workload: Workload;
  /** As it was when somebody looked at it. */
  readonly deployment: { readonly name: string; readonly uid: string; readonly generation: number };
  readonly container: string;
  readonly templateHash: string;
  readonly services: readonly ServiceChange[];
}

export interface Engine {
  readonly kind: "local" | "docker" | "kubernetes";
  capabilities(signal: AbortSignal): Promise<Capabilities>;
  /** Pure: what would be applied, for people to read and diff. Secret values are left out. */
  render(workload: Workload): Rendered[];
  /** What of the target is, or would be, in force, as it is applied: objects by the names that they have now. Absent: `render` says all there is. */
  manifests?(target: TrackTarget, signal: AbortSignal): Promise<Rendered[]>;
  /** Why the workload's overlays may not be applied. Pure. Absent: the place makes nothing of overlays. */
  overlayRefusals?(workload: Workload): OverlayRefusal[];
  /** Unpacks or pulls, makes volumes and config objects. Changes nothing that runs. Errors: coded causes as EngineFailure; StillPreparing for what takes long. */
  prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void>;
  /** Whether this process prepared it a moment ago: the next wave of a release need not do that again. Absent: never, since it costs little. */
  prepared?(workload: Workload): boolean;
  ensure(target: TrackTarget, fence: Fence, signal: AbortSignal): Promise<void>;
  /** Asks these instances to end (SIGTERM, after `grace` ms SIGKILL) and forgets them; returns when told, `observe` shows them go. Unknown id = success. A cluster that ends what it counts too many may be quicker, and gives them the workload's grace instead. */
  stop(ref: Ref, instances: readonly string[], grace: number, fence: Fence, signal: AbortSignal): Promise<void>;
  /**
   * From now on the place decides by itself how many instances of this revision's stable track run, beginning with those that do; `ensure` raises their number no more.
   * undefined: it does no longer, and as many as there are stay. Asked only while nothing else of the component is to change. Absent: the place cannot.
   */
  autoscale?(ref: Ref, how: Autoscaling | undefined, fence: Fence, signal: AbortSignal): Promise<void>;
  /** Removes everything of the component but its volumes; absent = success. */
  remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void>;
  /** Removes what is kept of a component beyond its end: its logs. Asked after `remove`; false while something of it is still ending. Absent = true. */
  forgetComponent(ref: Ref, signal: AbortSignal): Promise<boolean>;
  observe(ref: Ref, signal: AbortSignal): Promise<Observed | undefined>;
  /** What of the component somebody else made otherwise than it was put. Asks its place only when something was changed. Absent: nobody can. */
  drift?(ref: Ref, signal: AbortSignal): Promise<Drift>;
  /** Takes that back, but for the number of instances, which `ensure` and `stop` do. */
  repair?(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void>;
  /** What is in a namespace that Berth did not make. undefined: there is none of this name. Absent: the place has no namespaces. */
  foreign?(namespace: string, signal: AbortSignal): Promise<Foreign | undefined>;
  /**
   * Makes what runs there instances of a release, without replacing any of them: `records` tells them from then on. May be repeated. Errors: `wrong_state` when it was changed meanwhile;
   * EngineFailure (`namespace_of_others`).
   */
  takeIn?(taken: TakeIn, fence: Fence, signal: AbortSignal): Promise<void>;
  /** Everything of this installation on this cluster. */
  list(signal: AbortSignal): AsyncIterable<Observed>;
  /** The same instances with what they were started from: for adoption. */
  records(signal: AbortSignal): AsyncIterable<InstanceRecord>;
  /** From now on refuses every order of an older epoch, for whatever ref. Errors: `stale_generation` when a newer epoch was seen already. */
  raiseEpoch(epoch: Epoch, signal: AbortSignal): Promise<void>;
  logs(ref: Ref, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  exec(
    ref: Ref,
    instance: string,
    command: Command,
    tty: { readonly columns: number; readonly rows: number } | undefined,
    signal: AbortSignal,
  ): Promise<Session>;
  forward(ref: Ref, instance: string, port: number, signal: AbortSignal): Promise<Duplex>;
  /** Starts a one-off run unless this id was seen before (at most once), and returns at once. */
  startTask(task: TaskRun, fence: Fence, signal: AbortSignal): Promise<void>;
  /** undefined = this engine never saw the id. */
  task(id: string, signal: AbortSignal): Promise<TaskState | undefined>;
  cancelTask(id: string, grace: number, signal: AbortSignal): Promise<void>;
  taskLogs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  usage(refs: readonly Ref[], signal: AbortSignal): Promise<Usage[]>;
  /**
   * Removes what is kept of a stack as a whole once all of its components are removed: unpacked releases, logs, folders; its volumes only when none is kept. Absent = success.
   * false: something of it is still ending, ask again.
   */
  forget(
    stack: { readonly id: string; readonly name: string; readonly namespace?: string | null; readonly volumes: "kept" | "none" },
    signal: AbortSignal,
  ): Promise<boolean>;
  readonly volumes: VolumePort;
  /**
   * The address at which the edge stands for the component on its stack's own network, where the component's name leads to it. It stays as long as the stack.
   * Absent: siblings are reached on the machine's loopback.
   */
  door?(ref: Ref, stackId: string, signal: AbortSignal): Promise<string>;
  /** What a name of an image stands for now: a reference that never stands for another one. Errors: EngineFailure, StillPreparing. Absent: the place runs no images. */
  resolveImage?(name: string, signal: AbortSignal): Promise<ResolvedImage>;
  /** Whether the place has this image or can still fetch it. Absent: artifacts lie in the blob store. */
  holdsImage?(reference: string, signal: AbortSignal): Promise<boolean>;
  /**
   * Removes images that this installation built and that were made between two instants, but for those in `keep` (digests, or ids of the place). `prefix`: what it
   * pushed is named so. Absent: artifacts lie in the blob store.
   */
  removeImages?(
    order: { readonly keep: readonly string[]; readonly from: Date; readonly before: Date; readonly prefix?: string },
    signal: AbortSignal,
  ): Promise<number>;
  /** A hint, never the truth: calls back when something of the ref may have changed. Ends when the signal fires or the connection is lost. */
  watch?(onChange: (ref: Ref) => void, signal: AbortSignal): Promise<void>;
}

/** An image on its way. */
export interface Pulling {
  readonly image: string;
  readonly layers: number;
  /** Layers that are whole. */
  readonly there: number;
  /** Bytes that came, and that there are as far as that is known. */
  readonly bytes: number;
  readonly total?: number;
  /** ms since anything was heard of it. */
  readonly quiet: number;
}

/** What was asked for is still being fetched, and goes on: nothing failed, and the same call is made again later. */
export class StillPreparing extends Error {
  override readonly name = "StillPreparing";
  /** How far it is, where that is known. */
  readonly pull: Pulling | undefined;
  constructor(message: string, pull?: Pulling) {
    super(message);
    this.pull = pull;
  }
}

/** A failure of an engine with the cause that the user should see. */
export class EngineFailure extends Error {
  readonly failure: Cause;
  readonly retryable: boolean;
  constructor(failure: Cause, options: { retryable: boolean; cause?: unknown }) {
    super(failure.code, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "EngineFailure";
    this.failure = failure;
    this.retryable = options.retryable;
  }
}
