// What several engines read out of a workload alike. Pure.
import type { Workload } from "./engine.ts";

/** Processes and threads of an instance that says nothing itself: more than any honest program needs, and too few to fill the machine's table. */
export const mostProcesses = 4096;

/** `my-data` -> `MY_DATA`. */
export const variableName = (name: string): string => name.toUpperCase().replaceAll("-", "_");

/** The port that PORT names: the first http port, else the first one. */
export function mainPort(workload: Pick<Workload, "ports">): string | undefined {
  return (workload.ports.find((port) => port.protocol === "http") ?? workload.ports[0])?.name;
}

/** What an engine says of each instance about itself, by the names that programs rely on. */
export function identityOf(workload: Workload, instance: string): Record<string, string> {
  return {
    BERTH_STACK: workload.ref.stack,
    BERTH_COMPONENT: workload.ref.component,
    BERTH_INSTANCE: instance,
    BERTH_RELEASE: String(workload.releaseNumber),
    BERTH_RELEASE_HASH: workload.releaseHash,
  };
}

/** `PORT_<NAME>` of each port, `PORT` of the main one. */
export function portVariables(workload: Workload, ports: Readonly<Record<string, number>>): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, port] of Object.entries(ports)) env[`PORT_${variableName(name)}`] = String(port);
  const main = mainPort(workload);
  const port = main === undefined ? undefined : ports[main];
  return port === undefined ? env : { ...env, PORT: String(port) };
}

/** Whether a text has one of the workload's secrets in it: then it is not shown. */
export function holdsSecret({ secretValues }: Pick<Workload, "secretValues">, text: string): boolean {
  return secretValues.some((secret) => secret !== "" && text.includes(secret));
}
