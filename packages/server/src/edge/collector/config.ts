// The collector's part of the edge's config file. The collector reads nothing else: no environment variable, no database.
import { readFileSync } from "node:fs";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";

const CollectorSettings = Type.Object({
  /** Bytes of one log file, and how many of them a component may have. */
  maxFileBytes: Type.Integer({ minimum: 4096, default: 5 * 1024 * 1024 }),
  maxFiles: Type.Integer({ minimum: 2, default: 10 }),
  /** Bytes after which a line is cut. */
  maxLineBytes: Type.Integer({ minimum: 64, default: 64 * 1024 }),
});

/** PEM texts. */
export const DaemonTls = Type.Object({
  ca: Type.Optional(Type.String()),
  cert: Type.Optional(Type.String()),
  key: Type.Optional(Type.String()),
});

export const CollectorConfig = Type.Object({
  home: Type.String({ pattern: "^/" }),
  runDir: Type.String({ pattern: "^/", maxLength: 90 }),
  collector: Type.Object(CollectorSettings.properties, { default: {} }),
  /** Of the agent's settings: the daemon whose containers are read, if instances are containers. */
  agent: Type.Object({ docker: Type.Optional(Type.String()), tls: Type.Optional(DaemonTls) }, { default: {} }),
});
export type CollectorConfig = Static<typeof CollectorConfig>;
export type CollectorSettings = Static<typeof CollectorSettings>;

/** Fills in defaults and checks; throws a TypeError that names what is wrong. */
export function readCollectorConfig(file: string | undefined): CollectorConfig {
  if (file === undefined) throw new TypeError("the path of the collector's config file is missing");
  const filled = Value.Default(CollectorConfig, JSON.parse(readFileSync(file, "utf8")));
  if (Value.Check(CollectorConfig, filled)) return filled;
  const first = Value.Errors(CollectorConfig, filled)[0];
  throw new TypeError(`collector config${first?.instancePath ?? ""}: ${first?.message ?? "is not valid"}`);
}
