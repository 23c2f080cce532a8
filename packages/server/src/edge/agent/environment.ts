// The environment of a program: what its release says, and what only the engine knows. Nothing of Berth's own environment gets in.
import type { Workload } from "../../engines/engine.ts";
import { identityOf, portVariables, variableName } from "../../engines/workload.ts";

export interface EnvironmentOf {
  readonly workload: Workload;
  readonly instance: string;
  readonly ports: Readonly<Record<string, number>>;
  /** Folder of the unpacked artifact. */
  readonly root: string;
  readonly home: string;
  readonly tmp: string;
  readonly path: string;
  /** Volume name -> where the program finds it. */
  readonly volumes: Readonly<Record<string, string>>;
}

export function environmentOf(from: EnvironmentOf): Record<string, string> {
  const { workload } = from;
  const fill = (value: string): string =>
    value.replace(/\$(ROOT|PATH)\b|\$\{(ROOT|PATH)\}/g, (_hole, bare: string | undefined, braced: string | undefined) =>
      (bare ?? braced) === "ROOT" ? from.root : from.path,
    );
  const env: Record<string, string> = { PATH: from.path, HOME: from.home, TMPDIR: from.tmp, LANG: "C.UTF-8", HOST: "127.0.0.1" };
  for (const [name, value] of Object.entries(workload.artifactEnv)) env[name] = fill(value);
  Object.assign(env, workload.env, portVariables(workload, from.ports));
  for (const [name, path] of Object.entries(from.volumes)) env[`BERTH_VOLUME_${variableName(name)}`] = path;
  return { ...env, ...identityOf(workload, from.instance) };
}
