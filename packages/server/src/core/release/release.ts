// What a release is made of, and the hash that every one of its instances carries (promise 1 compares it, promise 5 restores it whole).
import { argumentsOf } from "../command.ts";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Command, ComponentSpec } from "@berth/contract/spec.ts";
import { contentHash } from "../canonical.ts";

export interface SecretRef {
  readonly secret: string;
  readonly version: number;
}

/** From the artifact: how it starts and what it needs to run. `$ROOT` and `$PATH` in `env` are filled in by the engine. */
export interface ReleaseRuntime {
  readonly command: Command;
  readonly workdir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly tools: readonly { readonly name: string; readonly wanted: string }[];
  /** An image that starts as it says itself. `reference`: one from outside, by its digest or by the id that the cluster's host has it under; `entrypoint` takes the place of the image's own. */
  readonly image?: { readonly reference?: string; readonly entrypoint?: readonly string[] };
  /** Where what Berth built is fetched from, by its digest; absent: it is where it was built. */
  readonly reference?: string;
  /** Run once each, as tasks: before this release goes live, and after the stack's first one. */
  readonly hooks?: { readonly release?: Command; readonly postdeploy?: Command };
}

export interface ReleaseContent {
  readonly artifactDigest: string;
  readonly config: Readonly<Record<string, string>>;
  readonly secretRefs: Readonly<Record<string, SecretRef>>;
  readonly spec: ComponentSpec;
  readonly runtime: ReleaseRuntime;
}

/** How what was built starts, with where it is fetched from. */
export function builtRuntime(runtime: ReleaseRuntime, reference: string | null): ReleaseRuntime {
  return reference === null ? runtime : { ...runtime, reference };
}

/** Replicas are operational and no part of a release: a rollback never un-scales. Nor does it end that a tag is followed or a load is, and beginning to replaces nothing. */
export function releaseHash(content: ReleaseContent): string {
  const { replicas: _replicas, follow: _follow, autoscale: _autoscale, placement: _placement, ...spec } = content.spec;
  return contentHash({ ...content, spec });
}

/** The stack's config, then what the Compose file says, then the component's own config: the later wins. */
export function resolveConfig(
  stackConfig: Readonly<Record<string, string>>,
  spec: Pick<ComponentSpec, "env">,
  componentConfig: Readonly<Record<string, string>>,
  runEnv: string,
): Record<string, string> {
  return { RUN_ENV: runEnv, ...stackConfig, ...spec.env, ...componentConfig };
}

export interface SiblingAddress {
  readonly component: string;
  readonly protocol: "http" | "tcp";
  readonly host: string;
  readonly port: number;
}

/** `API_HOST`, `API_PORT`, `API_URL` for a sibling `api`: where the place it runs in reaches it, so no part of a release. */
export function siblingEnv(siblings: readonly SiblingAddress[]): Record<string, string> {
  const env: Record<string, string> = {};
  for (const sibling of siblings) {
    const name = sibling.component.toUpperCase().replaceAll("-", "_");
    if (`${name}_HOST` in env) continue;
    env[`${name}_HOST`] = sibling.host;
    env[`${name}_PORT`] = String(sibling.port);
    env[`${name}_URL`] = `${sibling.protocol}://${sibling.host}:${sibling.port}`;
  }
  return env;
}

/** Which command starts the component: its own, or the artifact's process type that fits. */
export function chooseCommand(
  component: string,
  spec: ComponentSpec,
  plan: BuildPlan,
): { ok: true; runtime: ReleaseRuntime } | { ok: false; cause: Cause } {
  // The repository's own Dockerfile says how its image starts, where no Procfile does: that is the image's process `web`.
  if (plan.kind === "dockerfile" && (spec.process ?? "web") === "web" && Object.keys(plan.processes).length === 0)
    return { ok: true, runtime: imageRuntime(spec) };
  const command = startCommand(component, spec, plan);
  if (command === undefined)
    return {
      ok: false,
      cause: cause(
        "start_command_missing",
        { process: spec.process ?? processName(component, spec) },
        Object.keys(plan.processes).length === 0
          ? []
          : [{ kind: "file", text: `The build has these process types: ${Object.keys(plan.processes).join(", ")}` }],
      ),
    };
  return {
    ok: true,
    runtime: {
      command,
      workdir: spec.workdir ?? ".",
      env: plan.env,
      tools: plan.tools.filter((tool) => tool.phase !== "build").map(({ name, wanted }) => ({ name, wanted })),
      ...hooksOf(plan),
    },
  };
}

/** How an image starts that Berth did not compose: as it says itself, but for what the component says. */
export function imageRuntime(spec: Pick<ComponentSpec, "command" | "entrypoint" | "workdir">, reference?: string): ReleaseRuntime {
  const { command, entrypoint } = spec;
  const words = entrypoint === undefined ? undefined : argumentsOf(entrypoint);
  return {
    // Nothing: the image's own.
    command: command ?? { exec: [] },
    workdir: spec.workdir ?? ".",
    env: {},
    tools: [],
    image: { ...(reference === undefined ? {} : { reference }), ...(words === undefined ? {} : { entrypoint: words }) },
  };
}

function hooksOf(plan: BuildPlan): Pick<ReleaseRuntime, "hooks"> {
  const release = Object.hasOwn(plan.processes, "release") ? plan.processes["release"]?.command : undefined;
  const postdeploy = plan.app?.postdeploy;
  return release === undefined && postdeploy === undefined
    ? {}
    : { hooks: { ...(release === undefined ? {} : { release }), ...(postdeploy === undefined ? {} : { postdeploy }) } };
}

/** As in Compose, an entrypoint of the component's own puts the artifact's command aside: it runs with the component's command or alone. */
function startCommand(component: string, spec: ComponentSpec, plan: BuildPlan): Command | undefined {
  if (spec.entrypoint === undefined) return spec.command ?? processCommand(component, spec, plan);
  return spec.command === undefined ? spec.entrypoint : withEntrypoint(spec.entrypoint, spec.command);
}

function processName(component: string, spec: ComponentSpec): string {
  return spec.kind === "web" ? "web" : component;
}

function processCommand(component: string, spec: ComponentSpec, plan: BuildPlan): Command | undefined {
  const processes = new Map(Object.entries(plan.processes));
  if (spec.process !== undefined) return processes.get(spec.process)?.command;
  // What its siblings reach by HTTP is a server, also when nobody outside reaches it.
  const serves = spec.ports.some((port) => port.protocol === "http");
  const names = spec.kind === "web" ? ["web", component] : [component, ...(serves ? ["web"] : []), spec.kind, "worker"];
  for (const name of names) {
    const found = processes.get(name);
    if (found !== undefined) return found.command;
  }
  // A source with one way to start has only that one, whatever it is called.
  processes.delete("release");
  const [only, ...others] = processes.values();
  return others.length === 0 ? only?.command : undefined;
}

function withEntrypoint(entrypoint: Command, command: Command): Command {
  if ("shell" in entrypoint) return entrypoint;
  return { exec: [...entrypoint.exec, ...argumentsOf(command)] };
}
