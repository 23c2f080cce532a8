// What the component loop is given, and what one pass may ask for next.
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import type { Fence, Ref } from "../../engines/engine.ts";
import type { Places } from "../../resources/deps.ts";
import type { Commit } from "../queue.ts";

/** What runs of a component in one cluster. */
export type RefIn = Ref & { readonly cluster: string };

export interface ComponentLoopDeps {
  /** For reading; a pass writes by its `commit`. */
  readonly db: Db;
  readonly places: Places;
  readonly secretBox: SecretBox;
  readonly clock: () => Date;
  /** From when to count what began at an instant (unix ms): a wall clock that was set is no time that went by. */
  readonly from: (at: number) => number;
  /** Since when the cluster is reached without a break (unix ms): while it was away nothing could go on, and no deadline counts that. */
  readonly reachableSince: (cluster: string) => number;
  /** Whether work can be done for the cluster now. */
  readonly isReachable: (cluster: string) => boolean;
  readonly installation: () => { readonly id: string; readonly epoch: number };
  /** Ends when the engine hints that this ref changed, after `ms`, or with the signal. */
  readonly waitForHint: (ref: RefIn, ms: number, signal: AbortSignal) => Promise<void>;
  /** The same for who does not work on the component: the hint goes on to the component's loop. */
  readonly overhear: (ref: RefIn, ms: number, signal: AbortSignal) => Promise<void>;
  /** What is below it in a registry belongs to the stacks that it was built for: `registry.example/berth`. */
  readonly registry?: string;
  /** Counts a repair of drift, for the metric that should stay flat. */
  readonly countRepair: (stack: string, component: string, what: string) => void;
}

/** `commit`: the only way in which a pass writes, refused once another holder has the row. */
export interface PassContext {
  readonly signal: AbortSignal;
  readonly fence: Fence;
  readonly commit: Commit;
}

/** When the next pass is due, in ms; undefined = nothing left to do. */
export type Next = number | undefined;
