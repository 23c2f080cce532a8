// What single settings may be, and what is said of one that is not; `config.ts` reads them.
import { isIP } from "node:net";
import { isAbsolute } from "node:path";
import { namePattern } from "@berth/contract/names.ts";
import { Type } from "typebox";
import { Value } from "typebox/value";
import type { GivenCatalogue } from "./core/image/bases.ts";
import { defaultRegistry, registryOf } from "./core/image/reference.ts";
import { isPool } from "./core/pool.ts";
import type { AcmeProof, AcmeSettings } from "./core/acme.ts";
import { routerLimits } from "./core/router-limits.ts";
import { parseEndpoint } from "./docker/endpoint.ts";

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

export type EngineChoice =
  | { readonly kind: "local" }
  /** `swarm`: instances are services of the daemon's Swarm. */
  | { readonly kind: "docker"; readonly docker: string; readonly swarm: boolean };

/** As somebody gave it; `docker`: the address of its daemon. */
export interface EngineSettings {
  readonly kind: string | undefined;
  readonly docker: string | undefined;
  readonly swarm: boolean;
}

/** Errors: ConfigError. */
export function engine({ kind, docker, swarm }: EngineSettings): EngineChoice {
  if (kind === undefined || kind === "local") {
    if (swarm)
      throw new ConfigError("BERTH_SWARM is set, and the engine is local.", "Services are of the Docker engine: BERTH_ENGINE=docker.");
    return { kind: "local" };
  }
  if (kind !== "docker") throw new ConfigError(`BERTH_ENGINE is ${kind}.`, "It may be local or docker.");
  const address = docker ?? "unix:///var/run/docker.sock";
  try {
    parseEndpoint(address);
  } catch (error) {
    throw new ConfigError(`BERTH_DOCKER_HOST is no address of a daemon: ${(error as Error).message}.`, "It is written as DOCKER_HOST is.");
  }
  return { kind, docker: address, swarm };
}

const Runtime = Type.Object(
  {
    runtime: Type.Union((["node", "python", "go", "java", "php", "ruby", "rust"] as const).map((name) => Type.Literal(name))),
    version: Type.String({ pattern: "^[0-9]+([.][0-9]+)*$" }),
    build: Type.String({ minLength: 1 }),
    run: Type.Optional(Type.String({ minLength: 1 })),
    beside: Type.Optional(
      Type.Union([Type.Object({ copy: Type.Array(Type.String()) }), Type.Object({ packages: Type.Array(Type.String()) })]),
    ),
  },
  { additionalProperties: false },
);
const Images = Type.Object(
  {
    os: Type.Optional(Type.String({ minLength: 1 })),
    runtimes: Type.Optional(Type.Array(Runtime)),
    tools: Type.Optional(
      Type.Array(
        Type.Object({
          tool: Type.String(),
          image: Type.String(),
          copy: Type.Array(Type.String()),
          packages: Type.Optional(Type.Array(Type.String())),
          path: Type.Optional(Type.String()),
        }),
      ),
    ),
  },
  { additionalProperties: false },
);

/** What `images` names; `catalogueOf` tells what takes whose place. Errors: see `ConfigError`. */
export function catalogue(given: unknown): GivenCatalogue {
  if (given === undefined) return {};
  if (Value.Check(Images, given)) return given;
  const [first] = Value.Errors(Images, given);
  throw new ConfigError(
    `images${first?.instancePath ?? ""} in config.json ${first?.message ?? "is not valid"}.`,
    'Write it as {"os": IMAGE, "runtimes": [{"runtime": "node", "version": "22", "build": IMAGE, "run": IMAGE}], "tools": []}.',
  );
}

const Networks = Type.Object({ base: Type.String(), size: Type.Integer({ minimum: 16, maximum: 26 }) }, { additionalProperties: false });

/** Where images are pushed to: a host that can be told from a name, and a prefix of Berth's own, so that nothing beside it is ever touched. */
export function registry(given: string | undefined): string | undefined {
  if (given === undefined) return undefined;
  const part = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
  const isName = new RegExp(`^[a-z0-9.-]+(?::[0-9]{1,5})?(?:/${part})+$`).test(given) && given.length <= 160;
  if (isName && registryOf(given) !== defaultRegistry) return given;
  throw new ConfigError(
    `BERTH_REGISTRY is ${given}.`,
    "Write a host, with its port where it is not 443, and a prefix that is Berth's alone, in lower case: registry.example:5000/berth.",
  );
}

/** A range of IPv4 addresses and the length of each stack's part of it. */
export function networks(given: unknown): { readonly base: string; readonly size: number } | undefined {
  if (given === undefined) return undefined;
  if (Value.Check(Networks, given) && isPool(given)) return given;
  throw new ConfigError(
    `networks in config.json is ${JSON.stringify(given)}.`,
    'Write a range and the length of the networks to cut it into: {"base": "10.64.0.0/12", "size": 22}.',
  );
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

/** As config.json has it under `acme`. */
export interface GivenAcme {
  readonly directory?: string;
  readonly contact?: string;
  readonly termsAgreed?: boolean;
  readonly eabKid?: string;
  readonly eabKey?: string;
  readonly challenge?: string;
  readonly dnsHook?: string;
  readonly dnsHookSeconds?: string | number;
  readonly caFile?: string;
}

/** undefined: no authority is asked for anything. Never repeats the key of the binding. Errors: see `ConfigError`. */
export function acme(given: GivenAcme): AcmeSettings | undefined {
  const { directory, contact, eabKid: kid, eabKey: key, caFile } = given;
  if (directory === undefined) {
    const [lonely] = Object.keys(given).filter((name) => (given as Readonly<Record<string, unknown>>)[name] !== undefined);
    if (lonely === undefined) return undefined;
    throw new ConfigError(`acme has ${lonely}, but no directory.`, "Set BERTH_ACME_DIRECTORY to the URL of the authority's directory.");
  }
  if (!URL.canParse(directory) || new URL(directory).protocol !== "https:")
    throw new ConfigError(`BERTH_ACME_DIRECTORY is ${directory}.`, "Write the https:// URL of the authority's directory.");
  if (contact === undefined || !/^[^\s@,<>]+@[^\s@,<>]+$/.test(contact))
    throw new ConfigError(
      "BERTH_ACME_CONTACT is no mail address.",
      "Set one: the authority writes there when something is wrong with a certificate.",
    );
  if (given.termsAgreed !== true)
    throw new ConfigError(
      `Nobody has agreed to the terms of ${new URL(directory).host}.`,
      "Read them (its directory names them), then set BERTH_ACME_TERMS_AGREED=1, or `termsAgreed: true` under `acme` in config.json.",
    );
  if ((kid === undefined) !== (key === undefined))
    throw new ConfigError("An external account binding has two parts.", "Set both BERTH_ACME_EAB_KID and BERTH_ACME_EAB_KEY, or neither.");
  if (caFile !== undefined && !isAbsolute(caFile))
    throw new ConfigError(`BERTH_ACME_CA_FILE is ${caFile}.`, "Write the file's absolute path.");
  return {
    directory,
    contact,
    ...(kid === undefined || key === undefined ? {} : { binding: { kid, key } }),
    proof: proofOf(given),
    ...(caFile === undefined ? {} : { trust: caFile }),
  };
}

function proofOf({ challenge = "http-01", dnsHook, dnsHookSeconds }: GivenAcme): AcmeProof {
  if (challenge === "http-01") return { type: "http-01" };
  if (challenge !== "dns-01") throw new ConfigError(`BERTH_ACME_CHALLENGE is ${challenge}.`, "It may be http-01 or dns-01.");
  if (dnsHook === undefined || !isAbsolute(dnsHook))
    throw new ConfigError(
      "dns-01 needs a program that sets records.",
      "Set BERTH_ACME_DNS_HOOK to its absolute path; it is called with `add` or `remove`, the record's name and its value.",
    );
  return { type: "dns-01", hook: dnsHook, deadline: whole(dnsHookSeconds, 120, "BERTH_ACME_DNS_HOOK_SECONDS") * 1_000 };
}

/** Seconds; two years, which lists of browsers ask for, at most. */
export function hsts(given: string | number | undefined): number {
  const seconds = Number(given ?? 0);
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > 63_072_000)
    throw new ConfigError(`BERTH_HSTS_SECONDS is ${given}.`, "Give a whole number of seconds, 63072000 (two years) at most; 0 for none.");
  return seconds;
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
