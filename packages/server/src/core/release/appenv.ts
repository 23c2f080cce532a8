// What app.json asks of a component's environment: which variables somebody has to set, and which get a random secret. Pure.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { toName } from "../compose/names.ts";
import { siblingEnv, type SecretRef } from "./release.ts";

/** What a release of now would be given. */
export interface Intent {
  readonly config: Readonly<Record<string, string>>;
  readonly secretRefs: Readonly<Record<string, SecretRef>>;
}

export interface FittedIntent {
  readonly config: Record<string, string>;
  /** With a reference to each generated secret, also to those that are yet to be made. */
  readonly secretRefs: Record<string, SecretRef>;
  /** Secrets that have to be made first: each once, for whoever asks for it. */
  readonly generate: readonly { readonly variable: string; readonly secret: string }[];
  /** Required, and set by nobody. */
  readonly missing: readonly string[];
}

/** `versionOf` tells the newest version of a secret of the stack; a secret that is to be generated gets version 1. */
export function fitAppEnv(
  app: BuildPlan["app"],
  intent: Intent,
  injected: ReadonlySet<string>,
  versionOf: (secret: string) => number | undefined,
): FittedIntent {
  const secretRefs = { ...intent.secretRefs };
  const generate: { variable: string; secret: string }[] = [];
  const missing: string[] = [];
  for (const [variable, entry] of Object.entries(app?.env ?? {})) {
    if (
      entry.value !== undefined ||
      Object.hasOwn(intent.config, variable) ||
      Object.hasOwn(secretRefs, variable) ||
      injected.has(variable)
    )
      continue;
    if (entry.generate) {
      const secret = toName(variable);
      const version = versionOf(secret);
      if (version === undefined) generate.push({ variable, secret });
      secretRefs[variable] = { secret, version: version ?? 1 };
    } else if (entry.required) missing.push(variable);
  }
  return { config: { ...intent.config }, secretRefs, generate, missing };
}

/** The names of the secrets that `fitAppEnv` may ask for. */
export function generatedSecrets(app: BuildPlan["app"]): string[] {
  return Object.entries(app?.env ?? {})
    .filter(([, entry]) => entry.generate && entry.value === undefined)
    .map(([variable]) => toName(variable));
}

/** Variables that the place it runs in sets: its port, its volumes, and where its siblings are. */
export function injectedNames(spec: Pick<ComponentSpec, "volumes">, siblings: readonly string[]): ReadonlySet<string> {
  const addresses = siblingEnv(siblings.map((component) => ({ component, protocol: "http", host: "", port: 0 })));
  return new Set([
    "PORT",
    ...spec.volumes.map(({ volume }) => `BERTH_VOLUME_${volume.toUpperCase().replaceAll("-", "_")}`),
    ...Object.keys(addresses),
  ]);
}
