// What the control plane's client and the edge's agent and collector say to each other over unix sockets: JSON bodies and the frames of a terminal.
// Both sides may be of different versions: readers ignore what they do not know, and nothing here may change its meaning.
import type { Cause } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import type { Capabilities, Fence, InstanceRecord, Observed, Ref, TaskRun, TaskState, TrackTarget, Usage, Workload } from "../engine.ts";

export const protocolVersion = "1";
export const protocolHeader = "x-berth-protocol";

export interface EnsureRequest {
  readonly target: TrackTarget;
  readonly fence: Fence;
}
export interface StopRequest {
  readonly ref: Ref;
  readonly instances: readonly string[];
  readonly grace: number;
  readonly fence: Fence;
}
export interface RemoveRequest {
  readonly ref: Ref;
  readonly fence: Fence;
}
export interface FenceCheck {
  readonly ref: Ref;
  readonly fence: Fence;
}
export interface ObserveAnswer {
  readonly observed: readonly Observed[];
}
/** How many instances and runs of a component have not ended, or have lines that are not read yet. */
export interface LeftAnswer {
  readonly left: number;
}
export interface RecordsAnswer {
  readonly records: readonly InstanceRecord[];
}
export interface UsageRequest {
  readonly refs: readonly Ref[];
}
export interface UsageAnswer {
  readonly usage: readonly Usage[];
}
export interface StartTaskRequest {
  readonly task: TaskRun;
  readonly fence: Fence;
}
export interface TaskAnswer {
  readonly state: TaskState;
  readonly ref: Ref;
  /** Of one that has ended: whether all that it wrote is read. Absent from older agents. */
  readonly read?: boolean;
}
export interface CapabilitiesAnswer {
  readonly capabilities: Capabilities;
}
/** Where a stack's files lie and who owns them; `uid` is absent when instances run as Berth's own user. */
export interface StackAnswer {
  readonly dir: string;
  readonly uid?: number;
  readonly gid?: number;
}
/** `releases`: digests that something was started from. `ending`: something of the stack lives, or its last lines are not read yet. */
export interface StackUse {
  readonly releases: readonly string[];
  readonly ending: boolean;
}
/** Of a stack; `bytes` is 0 where that is not known. */
export interface VolumesAnswer {
  readonly volumes: readonly { readonly name: string; readonly bytes: number; readonly usedBy: readonly string[] }[];
}
export interface ImageAnswer {
  readonly there: boolean;
}
/** Who is to ask a registry: said anew with each order, and kept nowhere. */
export interface RegistryUser {
  readonly host: string;
  readonly username: string;
  readonly password: string;
}
/** Names an image that is looked for. */
export interface ResolveRequest {
  readonly name: string;
  readonly login?: RegistryUser;
  readonly patient?: true;
}
/** An image is on its way: the same question later finds it there, or fails. Answered to those that say by `patient` that they ask again; others wait. */
export interface Pending {
  readonly pending: true;
  /** Of an image; absent from older agents, and where something else is waited for. */
  readonly pull?: PullState;
}
/** How far the pull of an image is. */
export interface PullState {
  readonly layers: number;
  /** Layers that are whole. */
  readonly there: number;
  /** Bytes that came, compressed. */
  readonly bytes: number;
  /** Bytes that there are; absent until that is known of every layer. */
  readonly total?: number;
  /** ms since the daemon told anything of it. */
  readonly quiet: number;
}
export interface DoorAnswer {
  readonly address: string;
}
/** Images of this installation that may go, unless they stand in `keep`; times are Unix ms. */
export interface SweepRequest {
  readonly keep: readonly string[];
  readonly from: number;
  readonly before: number;
  readonly prefix?: string;
}
export interface SweepAnswer {
  readonly removed: number;
}
export interface PrepareRequest {
  readonly workload: Workload;
  readonly fence: Fence;
  readonly login?: RegistryUser;
  readonly patient?: true;
}
export interface ForgetLogsAnswer {
  readonly forgotten: boolean;
}
export interface ExecRequest {
  readonly ref: Ref;
  readonly instance: string;
  readonly command: Command;
  readonly tty?: { readonly columns: number; readonly rows: number };
}
/** One line of the `watch` stream. An empty line keeps the connection alive. */
export interface WatchLine {
  readonly ref: Ref;
}
/** Body of an answer with a status of 400 or more. */
export interface ProblemBody {
  readonly code: string;
  readonly params: Record<string, string | number | boolean>;
  readonly failure?: Cause;
  readonly retryable?: boolean;
}

/** Frame types of an exec stream. Each frame is: 1 byte type, 4 bytes length (big endian), payload. */
export const frameTypes = { stdin: 0, stdout: 1, stderr: 2, resize: 3, exit: 4, stdinEnd: 5, start: 6 } as const;
export type FrameType = (typeof frameTypes)[keyof typeof frameTypes];
export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}
const maxFrame = 1_048_576;

export function encodeFrame(type: FrameType, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(5 + payload.length);
  frame.writeUInt8(type, 0);
  frame.writeUInt32BE(payload.length, 1);
  frame.set(payload, 5);
  return frame;
}

/** Cuts a byte stream into frames. Throws a RangeError when a frame is longer than 1 MiB, which no honest peer sends. */
export class FrameReader {
  #held: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Frame[] {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const frames: Frame[] = [];
    while (this.#held.length >= 5) {
      const length = this.#held.readUInt32BE(1);
      if (length > maxFrame) throw new RangeError(`a frame of ${length} bytes`);
      if (this.#held.length < 5 + length) break;
      frames.push({ type: this.#held.readUInt8(0), payload: this.#held.subarray(5, 5 + length) });
      this.#held = this.#held.subarray(5 + length);
    }
    return frames;
  }
}

/** The text under which maps keep a ref; names are DNS labels, so `/` cannot occur in one. */
export const refKey = (ref: Ref): string => `${ref.stack}/${ref.component}`;
