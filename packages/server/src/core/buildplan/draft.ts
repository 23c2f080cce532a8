// What one ecosystem makes of a folder, before Procfile and app.json have their say; and the small builders that all ecosystems share.
import type { BuildPlan, BuildStep, BuildTool } from "@berth/contract/buildplan.ts";
import type { Cause } from "@berth/contract/causes.ts";
import { cause } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import type { Look } from "./source.ts";
import type { WarningCode } from "./warnings.ts";

export type Kind = BuildPlan["kind"];
export type Processes = BuildPlan["processes"];
export type Cache = BuildPlan["caches"][number];

export interface Draft {
  readonly kind: Kind;
  readonly flavour?: string | undefined;
  /** May lie above the folder that was asked for, when a workspace needs files from there. */
  readonly root: string;
  /** `manifest`: the ecosystem's own project file is there; `file`: only a source file hints at it. */
  readonly strength: "manifest" | "file";
  readonly tools: readonly BuildTool[];
  readonly steps: readonly BuildStep[];
  readonly processes: Processes;
  readonly env: Readonly<Record<string, string>>;
  readonly caches: readonly Cache[];
  readonly exclude: readonly string[];
  readonly staticSite?: BuildPlan["staticSite"];
  readonly dockerfile?: string;
  readonly target?: string;
  readonly secrets?: readonly string[];
  readonly notes: Notes;
}

/** A project file that decides about the ecosystem but cannot be understood. */
export interface Broken {
  readonly broken: Cause;
}

export type Detector = (look: Look) => Draft | Broken | undefined;

export function isBroken(value: Draft | Broken): value is Broken {
  return "broken" in value;
}

export function brokenManifest(look: Look, file: string, reason: string): Broken {
  return {
    broken: cause("manifest_invalid", { file: look.label(file), reason }, [
      { kind: "file", text: `${look.label(file)}: ${reason}`.slice(0, 4096) },
    ]),
  };
}

/** Findings and warnings in the order in which they were decided. */
export interface Notes {
  readonly findings: BuildPlan["findings"];
  readonly warnings: BuildPlan["warnings"];
  found(file: string, says: string): void;
  warn(code: WarningCode, params: Record<string, string>): void;
}

export function takeNotes(): Notes {
  const findings: BuildPlan["findings"] = [];
  const warnings: BuildPlan["warnings"] = [];
  return {
    findings,
    warnings,
    found: (file, says) => {
      findings.push({ file, says });
    },
    warn: (code, params) => {
      warnings.push({ code, params });
    },
  };
}

/** A step that always runs and takes nothing from the cache. */
export function step(name: BuildStep["name"], command: Command, why: string, network: boolean): BuildStep {
  return { name, command, why, inputs: [], outputs: [], network };
}

export function exec(...words: string[]): Command {
  return { exec: words };
}

export function shell(line: string): Command {
  return { shell: line };
}

/** Where a server should bind when its framework wants to be told; for use inside a shell line. */
export const bindHost = "${HOST:-0.0.0.0}";
