// What single settings may be, and what is said of one that is not; `config.ts` reads them.
import { isIP } from "node:net";
import { namePattern } from "@berth/contract/names.ts";
import { routerLimits } from "./core/router-limits.ts";

/** A setting that is wrong: which, and what it may be. */
export class ConfigError extends Error {
  readonly hint: string;
  constructor(sentence: string, hint: string) {
    super(sentence);
    this.hint = hint;
  }
}

/** A default port that is taken moves to the next free one; a chosen one is an error. */
export interface Listen {
  readonly host: string;
  readonly port: number;
  readonly portIsDefault: boolean;
}

export function autoOrOff(given: string | undefined, name: string): "auto" | "off" {
  if (given !== undefined && given !== "auto" && given !== "off") throw new ConfigError(`${name} is ${given}.`, "It may be auto or off.");
  return given ?? "auto";
}

/** Never repeats what was given: it holds a password. */
export function checkedUrl(given: string): string {
  if (!/^(postgres(ql)?:\/\/|socket:|\/)/.test(given))
    throw new ConfigError(
      "DATABASE_URL is no address of a PostgreSQL.",
      "Write it as postgres://USER:PASSWORD@HOST:5432/DATABASE, or postgres:///DATABASE?host=/FOLDER/OF/THE/SOCKET; without it Berth brings its own.",
    );
  return given;
}

export function cluster(given: string | undefined): { readonly name: string; readonly chosen: boolean } {
  if (given !== undefined && !new RegExp(namePattern).test(given))
    throw new ConfigError(
      `BERTH_CLUSTER is no name: ${given}.`,
      "Use lower-case letters, digits and single dashes, starting with a letter.",
    );
  return { name: given ?? "local", chosen: given !== undefined };
}

export function addresses(given: readonly string[]): readonly string[] {
  for (const text of given) {
    const [address = "", bits, more] = text.split("/");
    const most = isIP(address) === 6 ? 128 : 32;
    if (isIP(address) === 0 || more !== undefined || (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= most)))
      throw new ConfigError(
        `BERTH_TRUSTED_PROXIES has ${text}, which is no address.`,
        "Write addresses or ranges, with commas between them: 10.0.0.5,192.168.0.0/16.",
      );
  }
  return given;
}

/** What config.json calls a bound of the router -> what the edge calls it. */
const routerBounds = new Map(Object.entries(routerLimits).map(([name, bound]) => [bound.setting as string, { name, ...bound }]));

/** Errors: see `ConfigError`. */
export function limits(given: Readonly<Record<string, unknown>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(given).map(([key, value]) => {
      const bound = routerBounds.get(key);
      if (bound === undefined) throw new ConfigError(`routerLimits has no ${key}.`, `There are ${[...routerBounds.keys()].join(", ")}.`);
      if (typeof value !== "number" || !Number.isInteger(value) || value < bound.least || value > bound.most)
        throw new ConfigError(
          `routerLimits has ${JSON.stringify(value)} as ${key}.`,
          `Give a whole number from ${bound.least} to ${bound.most}.`,
        );
      return [bound.name, value * bound.unit];
    }),
  );
}

export function audience(given: string | undefined): "local" | "always" | "never" {
  const known = (["local", "always", "never"] as const).find((name) => name === given);
  if (given !== undefined && known === undefined)
    throw new ConfigError(`BERTH_ERROR_DETAILS is ${given}.`, "It may be local, always or never.");
  return known ?? "local";
}

export function listen(host: string | undefined, port: string | number | undefined, fallback: number, name: string): Listen {
  const number = port === undefined ? fallback : Number(port);
  if (!Number.isInteger(number) || number < 0 || number > 65_535)
    throw new ConfigError(`${name} is no port: ${port}.`, "Give a number from 0 (any that is free) to 65535.");
  return { host: host ?? "127.0.0.1", port: number, portIsDefault: port === undefined };
}

export function whole(given: string | number | undefined, fallback: number, name: string): number {
  const number = given === undefined ? fallback : Number(given);
  if (!Number.isInteger(number) || number < 1)
    throw new ConfigError(`${name} must be a whole number above 0, not ${given}.`, "Correct it in the environment or in config.json.");
  return number;
}

export function level(given: string | undefined): "debug" | "info" | "warn" | "error" {
  const known = (["debug", "info", "warn", "error"] as const).find((name) => name === given);
  if (given !== undefined && known === undefined)
    throw new ConfigError(`BERTH_LOG_LEVEL is ${given}.`, "Possible are debug, info, warn and error.");
  return known ?? "info";
}
