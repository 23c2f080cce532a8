// The Builder port: turns a stored source and its plan into an artifact. A builder makes no product decisions:
// which build runs when, and what becomes of a failed one, is decided by the control plane.
import type { Readable } from "node:stream";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Cause } from "@berth/contract/causes.ts";
import type { Built, BuiltFacts } from "../core/attest/built.ts";

/** The part of the blob store that builders and sources use. */
export interface BlobReader {
  /** `not_found` when nothing has this digest. */
  open(digest: string, signal?: AbortSignal): Promise<Readable>;
}
export interface BlobWriter {
  put(
    stream: Readable,
    options?: { readonly expected?: string },
    signal?: AbortSignal,
  ): Promise<{ readonly digest: string; readonly size: number }>;
}

/** Who a program runs as when Berth is root. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

/** Finds a tool that satisfies a semver range (or `*`) and that `runAs` may execute. */
export type FindTool = (
  name: string,
  wanted: string,
  runAs: RunAs | undefined,
) => Promise<
  | { readonly ok: true; readonly path: string; readonly version: string; readonly binDir: string }
  | { readonly ok: false; readonly cause: Cause }
>;

export interface BuildRequest {
  /** Unique for ever; also the name of the build's folder. */
  readonly id: string;
  readonly stackId: string;
  readonly stackName: string;
  /** Digest of a stored source: a plain tar as `storeArchive` writes it. */
  readonly sourceDigest: string;
  readonly plan: BuildPlan;
  /** The user's environment for build steps; wins over the plan's. */
  readonly env: Readonly<Record<string, string>>;
  /** Build secrets by name: steps that ask for one see it, and nothing of it stays in the image. Builders that cannot promise that refuse the plan. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** Absolute paths of volumes: what an engine makes of an empty volume has the owner that the image's folder has. */
  readonly writable?: readonly string[];
  /** Where the source came from, as far as that is known: for the image's labels. */
  readonly origin?: { readonly url: string; readonly revision: string };
  /** Where the image is pushed to; absent: it stays with the daemon that built it. */
  readonly destination?: { readonly repository: string; readonly tag: string };
  /** Values that no log line, cause or event may show; `secrets` are never shown in any case. */
  readonly secretValues: readonly string[];
  /** ms that the build may take from the call of `build`. */
  readonly deadline: number;
}

export interface BuildLine {
  readonly at: string;
  readonly stream: "stdout" | "stderr" | "berth";
  readonly step?: string;
  readonly text: string;
}
export type BuildEvent =
  | { readonly type: "log"; readonly line: BuildLine }
  /** `took` is ms; a step that came from the cache is reported `cached` and nothing else. */
  | { readonly type: "step"; readonly name: string; readonly state: "started" | "cached" | "finished" | "failed"; readonly took?: number };

/** Digests in the blob store. */
export interface Attestations {
  /** SPDX 2.3. */
  readonly sbom: string;
  /** SLSA v1 in an in-toto statement. */
  readonly provenance: string;
  /** Names with digests of the manifests in the image's registry that hold them. */
  readonly beside: readonly string[];
  /** What people should know of them. */
  readonly notes: readonly string[];
}

export type BuildOutcome = Built | { readonly ok: false; readonly cause: Cause };

export interface Builder {
  readonly kind: "host" | "image";
  /** What this builder lacks for the plan, with how to get it; said before a build starts. */
  check(plan: BuildPlan, stackId: string): Promise<Cause | undefined>;
  /**
   * Runs the build to its end. A failure of the project is an outcome; rejects with the signal's reason when cancelled, and with what broke when Berth itself failed.
   * Whatever the end, no process and no folder of the build is left. May be called again with the same id after a crash.
   */
  build(request: BuildRequest, onEvent: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildOutcome>;
  /**
   * Says what is in what was built, and where it comes from. Asked once the build is told as succeeded, since nobody has to wait for it, and again after a crash. Absent: nothing is attested.
   */
  attest?(request: BuildRequest, built: BuiltFacts, signal: AbortSignal): Promise<Attestations>;
  /** Removes what is kept for a stack's builds, once the stack is gone. Absent = success. */
  forget(stackId: string): Promise<void>;
  /** Ends the processes and removes the folders of builds that nobody runs any more: what a crashed control plane left. */
  sweep(isActive: (id: string) => boolean): Promise<void>;
}
