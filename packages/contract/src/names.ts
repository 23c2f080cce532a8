// Names and identifiers as every part of Berth writes them. Must never depend on anything but typebox.
import { Type, type Static } from "typebox";

/** A DNS label without `--` (slots of a component are `<component>--a` and `--b`), 1 to 40 characters, lower case, starting with a letter. */
export const namePattern = "^(?!.*--)[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$";
export const Name = Type.String({
  pattern: namePattern,
  description: "A DNS label without `--`: lower-case letters, digits and single dashes, starting with a letter, 40 characters at most.",
});
export type Name = Static<typeof Name>;

/**
 * A cluster's name, by which the server knows where names of clusters are: people may call a cluster otherwise than it was added (`Cluster.formerNames`). Under `x-berth`
 * stands `cluster` for such a name, and `facts` for parameters of a sentence, where `cluster` is one and `clusters` several with commas.
 */
export const ClusterName = { ...Name, "x-berth": "cluster" };
export const facts = { "x-berth": "facts" };

/** An environment variable's name. */
export const EnvName = Type.String({ pattern: "^[A-Za-z_][A-Za-z0-9_]{0,254}$" });

/** A lower-case host name, optionally with a leading `*.` label. */
export const Host = Type.String({
  maxLength: 253,
  pattern: "^(?:\\*\\.)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$",
});

/** SHA-256 of content, in hex, with its algorithm: `sha256:<64 hex digits>`. */
export const Digest = Type.String({ pattern: "^sha256:[0-9a-f]{64}$" });
export type Digest = Static<typeof Digest>;

/** What RUN_ENV may be. */
export const RunEnv = Type.String({ pattern: "^[A-Za-z0-9_.-]{1,40}$" });

/** The database's own ids. */
export const uuidPattern = "^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$";

/** Text that a caller sends, of so many characters at most: nothing that is sent is without a bound. */
export function Text(most: number, more: { readonly minLength?: number; readonly pattern?: string; readonly description?: string } = {}) {
  return Type.String({ maxLength: most, ...more });
}

/** RFC 3339 instant in UTC with milliseconds. */
export const Instant = Type.String({ format: "date-time", description: "RFC 3339, UTC." });

/** An instant that a caller sends: one that every clock and the database understand, so no leap second and nothing before 1970. */
export const PointInTime = Type.String({
  format: "date-time",
  maxLength: 40,
  pattern: "^(?:19[7-9]\\d|[2-9]\\d{3})-\\d\\d-\\d\\d[Tt]\\d\\d:[0-5]\\d:[0-5]\\d",
  description: "RFC 3339.",
});
