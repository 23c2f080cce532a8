// What every cluster beside the server's own machine is to whoever keeps them connected.
import type { OpenHost, OpenKube } from "../resources/clusters/store.ts";
import type { PlaceState } from "../resources/deps.ts";
import type { AddedPlace } from "./places.ts";

/** One that is kept connected until it is closed. */
export interface Connection {
  /** As the database has it. */
  readonly of: OpenHost | OpenKube;
  readonly state: PlaceState;
  /** For the threads; undefined: what it takes to open it is not here. */
  readonly place: AddedPlace | undefined;
  /** How the builder stands that the cluster has for itself: `none` is made by its first build. Absent: a place of this kind has none. Errors: KubeError, KubeUnreachable. */
  builder?(signal: AbortSignal): Promise<{ readonly state: "none" | "answers" | "not-ready"; readonly said: string }>;
  /** Takes off what Berth has put there for itself. */
  clear(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
