// The catalogue of base images: which image stands for an operating system or a runtime in a version. The installation's own catalogue
// replaces the one here, so that a private registry can supply all of them. Pure: nothing is pulled or asked here.
import semver from "semver";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { BuildPlan } from "@berth/contract/buildplan.ts";

/** What a plan's kind runs on. */
export type RuntimeName = "node" | "python" | "go" | "java" | "php" | "ruby" | "rust";

/** A runtime in one version. */
export interface RuntimeBase {
  readonly runtime: RuntimeName;
  readonly version: string;
  /** With compilers, package managers and whatever else only builds need. */
  readonly build: string;
  /** Only what programs need at run time; absent where a built program needs no more than the operating system. */
  readonly run?: string;
  /** How a build of another runtime gets this one beside its own. */
  readonly beside?: { readonly copy: readonly string[] } | { readonly packages: readonly string[] };
}

/** A build tool that lies in an image of its own, and the folders to take from it. */
export interface ToolImage {
  readonly tool: string;
  readonly image: string;
  readonly copy: readonly string[];
  /** Debian packages that it calls. */
  readonly packages?: readonly string[];
  /** Appended to PATH, when the tool is not put into a folder that is searched anyway. */
  readonly path?: string;
}

export interface Catalogue {
  /** Where programs run that need nothing but the operating system. */
  readonly os: string;
  /** Programs find certificates of authorities in it; where that is not known, the image's own build stage supplies them. */
  readonly osCertificates?: true;
  /** The first that fits is taken: of one runtime, what most projects should get comes first. */
  readonly runtimes: readonly RuntimeBase[];
  readonly tools: readonly ToolImage[];
}

const nodeParts = ["/usr/local/bin", "/usr/local/lib/node_modules"];

function family(
  runtime: RuntimeName,
  versions: readonly string[],
  images: (version: string) => Pick<RuntimeBase, "build" | "run" | "beside">,
): RuntimeBase[] {
  return versions.map((version) => ({ runtime, version, ...images(version) }));
}

/** The images that the makers of each runtime publish. Packages of Python and Ruby may be built against the system's libraries, so that those run where they were built. */
export const publicCatalogue: Catalogue = {
  os: "debian:12-slim",
  runtimes: [
    ...family("node", ["24", "22", "20"], (version) => ({
      build: `node:${version}-bookworm`,
      run: `node:${version}-bookworm-slim`,
      beside: { copy: nodeParts },
    })),
    ...family("python", ["3.13", "3.14", "3.12", "3.11", "3.10"], (version) => ({
      build: `python:${version}-bookworm`,
      run: `python:${version}-bookworm`,
      beside: { packages: ["python3"] },
    })),
    ...family("go", ["1.25", "1.24"], (version) => ({ build: `golang:${version}-bookworm` })),
    ...family("java", ["21", "25", "17", "11"], (version) => ({
      build: `eclipse-temurin:${version}-jdk`,
      run: `eclipse-temurin:${version}-jre`,
    })),
    ...family("php", ["8.4", "8.3", "8.2"], (version) => ({ build: `php:${version}-cli-bookworm`, run: `php:${version}-cli-bookworm` })),
    ...family("ruby", ["3.4", "3.3", "3.2"], (version) => ({ build: `ruby:${version}-bookworm`, run: `ruby:${version}-bookworm` })),
    ...family("rust", ["1"], (version) => ({ build: `rust:${version}-bookworm` })),
  ],
  tools: [
    { tool: "composer", image: "composer:2", copy: ["/usr/bin/composer"], packages: ["git", "unzip"] },
    { tool: "maven", image: "maven:3-eclipse-temurin-21", copy: ["/usr/share/maven"], path: "/usr/share/maven/bin" },
    { tool: "gradle", image: "gradle:8-jdk21", copy: ["/opt/gradle"], path: "/opt/gradle/bin" },
  ],
};

/** The first base of a runtime whose releases may satisfy `wanted` (a semver range or `*`). Causes: `base_missing`. */
export function chooseBase(
  catalogue: Catalogue,
  runtime: RuntimeName,
  wanted: string,
): { readonly ok: true; readonly base: RuntimeBase } | { readonly ok: false; readonly cause: Cause } {
  const all = catalogue.runtimes.filter((base) => base.runtime === runtime);
  const base = all.find(({ version }) => mayBe(version, wanted));
  if (base !== undefined) return { ok: true, base };
  const has = all.map(({ version }) => version).join(", ");
  return {
    ok: false,
    cause: cause("base_missing", { runtime, wanted: wanted === "*" ? "" : ` ${wanted}`, has: has === "" ? "none" : has }),
  };
}

/** Whether an image of the release line `22` or `3.12` has a version that satisfies the range: images follow their line's newest patch. */
function mayBe(line: string, wanted: string): boolean {
  const parts = line.split(".");
  const range = parts.length >= 3 ? line : `${line}.x`;
  return wanted === "*" || semver.intersects(range, wanted);
}

/** The runtime that a plan's programs are made for, with what the plan asks of it; undefined for what needs none. */
export function runtimeOf(
  plan: BuildPlan,
): { readonly runtime: RuntimeName; readonly wanted: string; readonly atRunTime: boolean } | undefined {
  const kind = plan.kind === "procfile" ? plan.tools.find(({ name }) => isRuntime(name))?.name : plan.kind;
  if (kind === undefined || !isRuntime(kind)) return undefined;
  const tool = plan.tools.find(({ name }) => name === kind);
  return { runtime: kind, wanted: tool?.wanted ?? "*", atRunTime: tool === undefined || tool.phase !== "build" };
}

const runtimes: ReadonlySet<string> = new Set<RuntimeName>(["node", "python", "go", "java", "php", "ruby", "rust"]);

export function isRuntime(name: string): name is RuntimeName {
  return runtimes.has(name);
}
