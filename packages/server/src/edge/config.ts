// The edge's configuration: one JSON file that primary, routers, agent and collector read. No environment variable decides anything here.
import { readFile } from "node:fs/promises";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";
import { oneHeap } from "../core/hardened.ts";
import { routerLimits, type RouterLimit } from "../core/router-limits.ts";

function bounded(name: RouterLimit) {
  const { unit, least, most, standard } = routerLimits[name];
  return Type.Integer({ minimum: least * unit, maximum: most * unit, default: standard * unit });
}

export const EdgeConfig = Type.Object({
  /** Berth's home folder, absolute. The edge keeps its state in `<home>/edge` and its logs in `<home>/logs/edge`. */
  home: Type.String({ pattern: "^/" }),
  /** Folder of the unix sockets `edge.sock`, `agent.sock`, `logs.sock`. */
  runDir: Type.String({ pattern: "^/", maxLength: 90 }),
  /** Berth's version, as the edge reports it. */
  version: Type.String({ default: "0.1.0" }),
  /** Fences of another installation are refused. */
  installation: Type.String({ minLength: 1 }),
  router: Type.Object({
    host: Type.String(),
    port: Type.Integer({ minimum: 0, maximum: 65_535 }),
    /** A default port that is taken moves to the next free one; a chosen one is an error. */
    portIsDefault: Type.Boolean(),
  }),
  /** Listened on while there is a certificate; as `router` otherwise. */
  https: Type.Object(
    {
      host: Type.Optional(Type.String()),
      port: Type.Integer({ minimum: 0, maximum: 65_535, default: 8443 }),
      portIsDefault: Type.Boolean({ default: true }),
    },
    { default: {} },
  ),
  /** Router processes; at least 2, so that the death of one never closes a shared listening socket. */
  workers: Type.Integer({ minimum: 2, maximum: 256, default: 2 }),
  /** Addresses or CIDR ranges whose X-Forwarded-* headers are believed. */
  trustedProxies: Type.Array(Type.String(), { default: [] }),
  accessLog: Type.Object(
    {
      maxFileBytes: Type.Integer({ minimum: 4096, default: 32 * 1024 * 1024 }),
      /** Kept files, the one being written included. */
      maxFiles: Type.Integer({ minimum: 1, default: 5 }),
    },
    { default: {} },
  ),
  /** Work per request that routers leave out, so that a benchmark can tell what it costs; nothing for real use. */
  leaveOut: Type.Array(Type.Union([Type.Literal("accessLog"), Type.Literal("metrics"), Type.Literal("requestIds")]), { default: [] }),
  /** What instances are: processes of this machine, or containers of a daemon. Decides which agent runs. */
  engine: Type.Union([Type.Literal("local"), Type.Literal("docker")], { default: "local" }),
  /** Which children run beside the routers. */
  children: Type.Object({ agent: Type.Boolean({ default: true }), collector: Type.Boolean({ default: true }) }, { default: {} }),
  /** Whether routers outlive a primary that dies, and bring up the next one. Tests turn it off, so that nothing of theirs is left behind. */
  succession: Type.Boolean({ default: true }),
  /** ms that requests in flight and children have to finish after an order to stop. */
  shutdownGrace: Type.Integer({ minimum: 0, default: 10_000 }),
  /** ms after which a replaced router ends the connections that are still open (upgraded ones, mostly). */
  retireTimeout: Type.Integer({ minimum: 0, default: 1_800_000 }),
  /** ms without an answer's first byte before a request is given up with 504. */
  responseTimeout: Type.Integer({ minimum: 0, default: 300_000 }),
  /** Bounds against clients that take more than their share; see RouterLimits. */
  limits: Type.Object(
    {
      headerBytes: bounded("headerBytes"),
      headersTimeout: bounded("headersTimeout"),
      clientTimeout: bounded("clientTimeout"),
      idleTimeout: bounded("idleTimeout"),
      restFrom: bounded("restFrom"),
      maxConnections: bounded("maxConnections"),
      maxConnectionsPerClient: bounded("maxConnectionsPerClient"),
    },
    { default: {} },
  ),
  /** Seconds for which browsers that came over HTTPS are told to use nothing else (RFC 6797); 0: they are not told. */
  hstsSeconds: Type.Integer({ minimum: 0, maximum: 63_072_000, default: 0 }),
  /** Who is told what is wrong behind an error page. */
  errorDetails: Type.Union([Type.Literal("local"), Type.Literal("always"), Type.Literal("never")], { default: "local" }),
  /** Settings of the agent and the collector, handed on as they are; each checks its own. */
  agent: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
  collector: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
});
export type EdgeConfig = Static<typeof EdgeConfig>;

/** Fills in defaults and checks; throws a TypeError that names what is wrong. */
export function parseEdgeConfig(value: unknown): EdgeConfig {
  const filled = Value.Default(EdgeConfig, value);
  if (Value.Check(EdgeConfig, filled)) return filled;
  const first = Value.Errors(EdgeConfig, filled)[0];
  throw new TypeError(`edge config${first?.instancePath ?? ""}: ${first?.message ?? "is not valid"}`);
}

/** Reads the file that the process was given as its argument. */
export async function readEdgeConfig(file: string | undefined): Promise<EdgeConfig> {
  if (file === undefined) throw new TypeError("the path of the edge's config file is missing");
  return parseEdgeConfig(JSON.parse(await readFile(file, "utf8")));
}

/** What routers inherit, and one heap for all their threads, whoever started the edge. */
export function routerEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, ...oneHeap };
}
