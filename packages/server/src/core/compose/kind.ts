// What kind of component a service is, when its author does not say so. The rules are listed in docs/guide/compose.md in the same order.
import type { ComponentKind } from "@berth/contract/spec.ts";

export interface KindHints {
  readonly said: ComponentKind | undefined;
  readonly name: string;
  readonly process: string | undefined;
  readonly image: string | undefined;
  readonly builds: boolean;
  readonly hasCommand: boolean;
  readonly hasSchedule: boolean;
  readonly hasDomains: boolean;
  /** Under `ports`: meant for the outside. What is under `expose` is for siblings. */
  readonly isPublished: boolean;
  /** It has ports of either sort, and none of them speaks HTTP. */
  readonly tcpOnly: boolean;
  readonly hasVolume: boolean;
}

/** Images of databases and brokers, by the last part of their name, with the port at which siblings expect them. */
export const stores: ReadonlyMap<string, number> = new Map([
  ["postgres", 5432],
  ["postgresql", 5432],
  ["postgis", 5432],
  ["timescaledb", 5432],
  ["pgvector", 5432],
  ["mysql", 3306],
  ["mariadb", 3306],
  ["percona", 3306],
  ["mongo", 27017],
  ["mongodb", 27017],
  ["redis", 6379],
  ["redis-stack", 6379],
  ["redis-stack-server", 6379],
  ["valkey", 6379],
  ["keydb", 6379],
  ["dragonfly", 6379],
  ["memcached", 11211],
  ["rabbitmq", 5672],
  ["nats", 4222],
  ["kafka", 9092],
  ["cassandra", 9042],
]);
const webNames: ReadonlySet<string> = new Set(["web", "www", "frontend"]);

/** `registry.example.com/library/postgres:17-alpine` -> `postgres`. */
export function imageName(image: string): string {
  const path = image.split("@", 1)[0] ?? "";
  return (path.slice(path.lastIndexOf("/") + 1).split(":", 1)[0] ?? "").toLowerCase();
}

export function inferKind(hints: KindHints): ComponentKind {
  if (hints.said !== undefined) return hints.said;
  if (hints.hasSchedule) return "cron";
  if (hints.hasDomains || hints.process === "web") return "web";
  if (hints.image !== undefined && stores.has(imageName(hints.image))) return "stateful";
  if (hints.tcpOnly && hints.hasVolume) return "stateful";
  if (hints.isPublished) return "web";
  if (hints.builds && !hints.hasCommand && webNames.has(hints.name)) return "web";
  return "worker";
}

export const kindRules: readonly string[] = [
  "`x-berth: { kind: ... }` says so.",
  "With `x-berth: { schedule: ... }` it is `cron`.",
  "With `x-berth: { domains: ... }`, or with `process: web`, it is `web`.",
  `With the image of a known database or broker (${[...stores.keys()].join(", ")}) it is \`stateful\`.`,
  "With a named volume and ports (`ports` or `expose`) that speak nothing but TCP it is `stateful`.",
  "With `ports` it is `web`.",
  `With \`build\`, without a command, and called ${[...webNames].map((name) => `\`${name}\``).join(", ")} it is \`web\`.`,
  "Anything else is a `worker`: nobody outside reaches it. With `expose`, or a `healthcheck` that asks a port of its own, its siblings do.",
];
