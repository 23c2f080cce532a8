// A workload as it is written beside what runs, so that it can be read back after everything else was lost (promise 7): without the values of its
// variables, which stand where the program finds them. Of secrets it says where in which value they are, not what they are. Pure.
import type { Workload } from "./engine.ts";

/** Where in a variable's value a secret stands: name, first character, length. */
type SecretPlace = readonly [name: string, from: number, length: number];

export interface WrittenWorkload {
  readonly workload: Omit<Workload, "env" | "secretValues">;
  /** Names of the workload's own variables. */
  readonly env: readonly string[];
  readonly secrets: readonly SecretPlace[];
}

export function writeWorkload({ env, secretValues, ...workload }: Workload): WrittenWorkload {
  return { workload, env: Object.keys(env), secrets: placesOf(env, secretValues) };
}

/** `environment`: all variables that what runs was given. One that is missing there is missing in the workload. */
export function readWorkload({ workload, env: names, secrets }: WrittenWorkload, environment: ReadonlyMap<string, string>): Workload {
  const env = Object.fromEntries(names.flatMap((name) => (environment.has(name) ? [[name, environment.get(name) ?? ""]] : [])));
  const secretValues = new Set(secrets.map(([name, from, length]) => (env[name] ?? "").slice(from, from + length)));
  secretValues.delete("");
  return { ...workload, env, secretValues: [...secretValues] };
}

function placesOf(env: Readonly<Record<string, string>>, secrets: readonly string[]): SecretPlace[] {
  return secrets
    .filter((secret) => secret !== "")
    .flatMap((secret) =>
      Object.entries(env).flatMap(([name, value]): SecretPlace[] => {
        const from = value.indexOf(secret);
        return from < 0 ? [] : [[name, from, secret.length]];
      }),
    );
}
