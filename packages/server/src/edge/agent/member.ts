// What all agents have in their hands, whatever it is made of.
import type { InstanceOrder } from "../../engines/agent/order.ts";
import type { Instance } from "../../engines/engine.ts";

/** An instance or a task in an agent's hands. */
export interface Member {
  readonly id: string;
  /** What it was started by. */
  readonly spec: InstanceOrder;
  /** Its own folder. */
  readonly dir: string;
  readonly ready: boolean;
  readonly stopping: boolean;
  /** SIGTERM now, SIGKILL after `grace` ms. */
  stop(grace: number): void;
  /** Lets go of it; it runs on. */
  close(): void;
  /** What `observe` shows. */
  view(): Promise<Instance>;
}
