// `x-berth`: what Compose has no word for, held against the contract's own schemas. Durations and short forms are for people; what comes out is the contract's.
import { Name } from "@berth/contract/names.ts";
import { overlayKinds } from "@berth/contract/overlay.ts";
import { StackDrift } from "@berth/contract/resources/drift.ts";
import { ComponentSpec, Port } from "@berth/contract/spec.ts";
import { Type, type Static, type TSchema } from "typebox";
import { Value } from "typebox/value";
import { parseBytes, parseDuration } from "./units.ts";
import { get, isNull, locate, plain, type Mapping, type Tree } from "./tree.ts";
import { checkKeys, complain, mappingOf, type Place } from "./values.ts";
import type { Protocol } from "./ports.ts";

const taken = Type.Pick(ComponentSpec, [
  "kind",
  "process",
  "follow",
  "autoscale",
  "placement",
  "domains",
  "schedule",
  "strategy",
  "probes",
  "drainTimeout",
  "gracePeriod",
  "maxBody",
  "maxConnections",
  "securityProfile",
  "secrets",
  "command",
  "entrypoint",
  "kubernetes",
]);

/** `x-berth` of a service, with its short forms written out: `30s` as milliseconds, a schedule and a strategy as objects, a domain as `{ host, path }`. */
export const XBerth = Type.Object(
  {
    ...Type.Partial(taken).properties,
    ports: Type.Optional(
      Type.Union([
        Type.Array(Port, { maxItems: 32 }),
        Type.Record(Type.String({ pattern: "^[1-9][0-9]{0,4}$" }), Type.Union([Type.Literal("http"), Type.Literal("tcp")])),
      ]),
    ),
  },
  { additionalProperties: false, $id: "XBerth" },
);
export type XBerth = Static<typeof XBerth>;

/** `x-berth` at the top of the file. */
export const XBerthStack = Type.Object(
  {
    runEnv: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9_.-]{1,40}$" })),
    stack: Type.Optional(Name),
    drift: Type.Optional(StackDrift),
  },
  { additionalProperties: false, $id: "XBerthStack" },
);
export type XBerthStack = Static<typeof XBerthStack>;

const durations = new Set([
  "drainTimeout",
  "gracePeriod",
  "minReady",
  "progressDeadline",
  "deadline",
  "startingDeadline",
  "initialDelay",
  "period",
  "timeout",
  "pause",
]);

/** undefined when there is none, or when it has a problem, which is then reported. */
export function readXBerth(place: Place, tree: Tree | undefined): XBerth | undefined {
  const own = mappingOf(place, tree, "x-berth");
  if (own === undefined) return undefined;
  checkKeys(place, "berth", own);
  const value = Object.fromEntries([...known(own, XBerth)].map(([key, entry]) => [key, writtenOut(key, entry)]));
  if (!report(place, own, XBerth, value)) return undefined;
  return checkSchedule(place, own, value) ? value : undefined;
}

export function readXBerthStack(place: Place, tree: Tree | undefined): XBerthStack {
  const own = mappingOf(place, tree, "x-berth");
  if (own === undefined) return {};
  checkKeys(place, "berthTop", own);
  const value = Object.fromEntries(
    [...known(own, XBerthStack)].map(([key, entry]) => [
      key,
      entry.type === "scalar" && typeof entry.value === "number" ? entry.text : plain(entry),
    ]),
  );
  return report(place, own, XBerthStack, value) ? value : {};
}

/** Unknown keys were reported with what they may have meant. */
function known(tree: Mapping, schema: { properties: object }): Map<string, Tree> {
  return new Map(
    [...tree.entries.values()]
      .filter((entry) => Object.hasOwn(schema.properties, entry.key) && !isNull(entry.value))
      .map((entry) => [entry.key, entry.value]),
  );
}

function writtenOut(key: string, tree: Tree): unknown {
  // Somebody else's words, which are taken as they are.
  if (key === "kubernetes") return said(tree);
  if (tree.type !== "scalar") {
    if (key === "domains" && tree.type === "sequence")
      return tree.items.map((item) => (item.type === "scalar" ? domain(item.text) : deep(item)));
    return deep(tree);
  }
  if (durations.has(key)) return milliseconds(tree);
  if (key === "maxBody") return typeof tree.value === "string" ? (parseBytes(tree.value) ?? tree.value) : tree.value;
  if (key === "maxConnections") return numeric(key, tree);
  switch (key) {
    case "schedule":
      return { cron: tree.text };
    case "strategy":
      return { type: tree.value };
    case "domains":
      return [domain(tree.text)];
    default:
      return tree.value;
  }
}

/** Plain data without what is null. */
function said(tree: Tree): unknown {
  switch (tree.type) {
    case "scalar":
      return tree.value;
    case "sequence":
      return tree.items.filter((item) => !isNull(item)).map(said);
    case "mapping":
      return Object.fromEntries(
        [...tree.entries.values()].filter((entry) => !isNull(entry.value)).map((entry) => [entry.key, said(entry.value)]),
      );
  }
}

/** Plain data with durations as milliseconds and the values of variables as text. */
function deep(tree: Tree): unknown {
  switch (tree.type) {
    case "scalar":
      return tree.value;
    case "sequence":
      return tree.items.map(deep);
    case "mapping":
      return Object.fromEntries(
        [...tree.entries.values()]
          .filter((entry) => !isNull(entry.value))
          .map((entry) => [
            entry.key,
            entry.value.type === "scalar"
              ? durations.has(entry.key)
                ? milliseconds(entry.value)
                : numeric(entry.key, entry.value)
              : entry.key === "headers"
                ? plain(entry.value)
                : deep(entry.value),
          ]),
      );
  }
}

const numbers = new Set([
  "port",
  "published",
  "maxSurge",
  "maxUnavailable",
  "successThreshold",
  "failureThreshold",
  "maxConnections",
  "min",
  "max",
  "cpu",
  "memory",
  "replicas",
  "share",
]);
function numeric(key: string, tree: Tree & { type: "scalar" }): unknown {
  return numbers.has(key) && typeof tree.value === "string" && /^[0-9]{1,9}$/.test(tree.value) ? Number(tree.value) : tree.value;
}
function milliseconds(tree: Tree & { type: "scalar" }): unknown {
  return typeof tree.value === "string" ? (parseDuration(tree.value) ?? tree.value) : tree.value;
}

function domain(text: string): { host: string; path?: string } {
  const slash = text.indexOf("/");
  return slash === -1 ? { host: text.toLowerCase() } : { host: text.slice(0, slash).toLowerCase(), path: text.slice(slash) };
}

/** Whether the value fits; each thing that does not is reported where it stands. */
function report<T extends TSchema>(place: Place, tree: Mapping, schema: T, value: unknown): value is Static<T> {
  if (Value.Check(schema, value)) return true;
  const errors = Value.Errors(schema, value);
  const unions = errors.filter((error) => error.keyword === "anyOf").map((error) => error.instancePath);
  const told = new Set<string>();
  for (const error of errors) {
    const inUnion = unions.some((path) => error.instancePath === path || error.instancePath.startsWith(`${path}/`));
    if (error.keyword === "boolean" || (inUnion && error.keyword !== "anyOf") || told.has(error.instancePath)) continue;
    told.add(error.instancePath);
    const allowed = errors
      .filter((other) => other.keyword === "const" && other.instancePath === error.instancePath)
      .map((other) => String((other.params as { allowedValue?: unknown }).allowedValue));
    const key = `x-berth${error.instancePath.replaceAll("/", ".")}`;
    complain(
      place,
      locate(tree, error.instancePath),
      key,
      `\`${key}\` ${error.instancePath === "/schedule/cron" ? "is not a cron expression" : sentence(error, allowed)}`,
      hintFor(error.instancePath),
    );
  }
  if (told.size === 0) complain(place, tree.at, "x-berth", "`x-berth` does not have the form that it should", "");
  return false;
}

function sentence(error: { keyword: string; message: string; params: object }, allowed: readonly string[]): string {
  if (allowed.length > 0) return `is one of ${allowed.join(", ")}`;
  switch (error.keyword) {
    case "anyOf":
      return "does not have one of the forms that it may have";
    case "additionalProperties":
      return `has no key ${String((error.params as { additionalProperties?: unknown }).additionalProperties)}`;
    case "pattern":
      return "does not look as it should";
    default:
      return error.message;
  }
}

const cronHint = "Write five fields, minute first: `30 3 * * *` is every night at 3:30.";

function hintFor(path: string): string {
  if (path === "/schedule/cron") return cronHint;
  const key = path.split("/").at(-1) ?? "";
  if (durations.has(key)) return "Write a duration, as `30s` or `5m`.";
  if (path.startsWith("/kubernetes")) return `An overlay is a mapping, of one of the kinds ${overlayKinds.join(", ")}.`;
  if (key === "maxBody") return "Write a size, as `10m` or `1g`.";
  if (key === "host" || path.startsWith("/domains")) return "Write a host name, as `shop.example.com` or `example.com/shop`.";
  return "docs/guide/compose.md lists what `x-berth` may have.";
}

function checkSchedule(place: Place, tree: Mapping, value: XBerth): boolean {
  const { schedule } = value;
  if (schedule === undefined) return true;
  const at = get(tree, "schedule")?.at ?? tree.at;
  const fields = schedule.cron.trim().split(/\s+/);
  if (fields.length !== 5 || fields.some((field) => !/^[0-9A-Za-z*,/#?-]+$/.test(field))) {
    complain(place, at, "x-berth.schedule", `\`${schedule.cron}\` is not a cron expression`, cronHint);
    return false;
  }
  if (schedule.timeZone === undefined || isTimeZone(schedule.timeZone)) return true;
  complain(
    place,
    at,
    "x-berth.schedule.timeZone",
    `\`${schedule.timeZone}\` is not a time zone`,
    "Write its IANA name, as `Europe/Berlin`.",
  );
  return false;
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** `{ 5432: tcp }` of `x-berth.ports`. */
export function saidProtocols(own: XBerth | undefined): ReadonlyMap<number, Protocol> {
  if (own?.ports === undefined || Array.isArray(own.ports)) return new Map();
  return new Map(Object.entries(own.ports).map(([port, protocol]) => [Number(port), protocol]));
}
