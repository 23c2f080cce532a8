// What came of a build that succeeded, as builders say it and as it is attested. All of it can be kept as JSON.
import type { BaseImage } from "./provenance.ts";

export interface UsedTool {
  readonly name: string;
  readonly version: string;
  readonly wanted: string;
  readonly phase: "build" | "run" | "both";
}

export interface Built {
  readonly ok: true;
  readonly digest: string;
  /** The name with a digest by which it is fetched; absent: it is where it was built. */
  readonly reference?: string;
  /** The daemon's own id of an image whose digest is another one. */
  readonly image?: string;
  /** What it stands on, as far as the builder knows. */
  readonly bases?: readonly BaseImage[];
  readonly size: number;
  readonly processes: readonly string[];
  readonly tools: readonly UsedTool[];
}

export interface BuiltFacts {
  readonly outcome: Built;
  /** RFC 3339 */ readonly startedAt: string;
  readonly endedAt: string;
}
