// The environment of a program: what its release says, and what only the engine knows. Nothing of Berth's own environment gets in.
import type { Workload } from "../../engines/engine.ts";

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

/** `my-data` -> `MY_DATA`. */
export const variableName = (name: string): string => name.toUpperCase().replaceAll("-", "_");

/** The port that PORT names: the first http port, else the first one. */
export function mainPort(workload: Workload): string | undefined {
  return (workload.ports.find((port) => port.protocol === "http") ?? workload.ports[0])?.name;
}

export function environmentOf(from: EnvironmentOf): Record<string, string> {
  const { workload } = from;
  const fill = (value: string): string =>
    value.replace(/\$(ROOT|PATH)\b|\$\{(ROOT|PATH)\}/g, (_hole, bare: string | undefined, braced: string | undefined) =>
      (bare ?? braced) === "ROOT" ? from.root : from.path,
    );
  const env: Record<string, string> = { PATH: from.path, HOME: from.home, TMPDIR: from.tmp, LANG: "C.UTF-8", HOST: "127.0.0.1" };
  for (const [name, value] of Object.entries(workload.artifactEnv)) env[name] = fill(value);
  Object.assign(env, workload.env);
  for (const [name, port] of Object.entries(from.ports)) env[`PORT_${variableName(name)}`] = String(port);
  const main = mainPort(workload);
  const port = main === undefined ? undefined : from.ports[main];
  if (port !== undefined) env["PORT"] = String(port);
  for (const [name, path] of Object.entries(from.volumes)) env[`BERTH_VOLUME_${variableName(name)}`] = path;
  return {
    ...env,
    BERTH_STACK: workload.ref.stack,
    BERTH_COMPONENT: workload.ref.component,
    BERTH_INSTANCE: from.instance,
    BERTH_RELEASE: String(workload.releaseNumber),
    BERTH_RELEASE_HASH: workload.releaseHash,
  };
}
