// The file that a backup is: a tar that begins with what it is and ends with the list of everything in it, each with its size and hash.
// Readers refuse what they do not understand. What was written once keeps its meaning for ever: this is what people rely on in need.
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";
import { Digest } from "@berth/contract/names.ts";

/** Raised when an older reader could not make sense of a newer file. */
export const backupFormat = 1;

/** Names of the parts, in their order in the file. */
export const parts = {
  about: "about.json",
  config: "config.json",
  keys: "keys.json",
  tables: "tables/",
  blobs: "blobs/",
  manifest: "manifest.json",
  end: "end.json",
} as const;

const Hash = Type.String({ pattern: "^[0-9a-f]{64}$" });
const Count = Type.Integer({ minimum: 0 });

/** First in the file: enough to know whether to read on. */
export const About = Type.Object({
  what: Type.Literal("berth backup"),
  format: Type.Integer({ minimum: 1 }),
  program: Type.String(),
  createdAt: Type.String(),
  installation: Type.Object({ id: Type.String(), epoch: Type.Integer({ minimum: 1 }) }),
});
export type About = Static<typeof About>;

export const Manifest = Type.Object({
  schema: Type.Object({
    minimumProgram: Type.String(),
    migrations: Type.Array(Type.Object({ number: Count, name: Type.String(), checksum: Type.String() })),
  }),
  /** Version of the PostgreSQL that it was read from. */
  server: Type.String(),
  tables: Type.Array(
    Type.Object({
      name: Type.String({ pattern: "^[a-z_][a-z0-9_]*$" }),
      columns: Type.Array(Type.Object({ name: Type.String(), type: Type.String({ pattern: "^[a-z][a-z0-9_ ()\\[\\],]*$" }) })),
      rows: Count,
    }),
  ),
  sequences: Type.Array(Type.Object({ name: Type.String({ pattern: "^[a-z_][a-z0-9_]*$" }), value: Type.String({ pattern: "^[0-9]+$" }) })),
  blobs: Type.Object({
    /** False: only rows were wanted, the blobs stay where they are. */
    included: Type.Boolean(),
    count: Count,
    bytes: Count,
    /** Named by a row, but gone or not what their digest says when the backup was made. */
    missing: Type.Array(Digest),
    damaged: Type.Array(Digest),
  }),
  /** Ids of the keys that the secrets lie under. */
  secretKeys: Type.Array(Type.String()),
  /** Every other part: its size and hash. */
  files: Type.Record(Type.String(), Type.Object({ size: Count, sha256: Hash })),
});
export type Manifest = Static<typeof Manifest>;

/** Last in the file: without it, the file was cut short. */
export const End = Type.Object({ manifestSha256: Hash });

/** A backup that cannot be used, with what to do; nothing was changed because of it. */
export class BackupRefused extends Error {
  readonly hint: string;
  constructor(sentence: string, hint: string, options: { readonly cause?: unknown } = {}) {
    super(sentence, options);
    this.name = "BackupRefused";
    this.hint = hint;
  }
}

export function readAbout(file: string, text: string): About {
  const value = parse(text);
  if (!Value.Check(Type.Object({ what: Type.Literal("berth backup"), format: Type.Integer() }), value))
    throw new BackupRefused(`${file} is not a backup of Berth.`, "Give the file that `berth backup` wrote.");
  if (value.format > backupFormat)
    throw new BackupRefused(
      `${file} was written by a newer Berth${Value.Check(About, value) ? ` (${value.program})` : ""}, in a format that this one does not know.`,
      "Restore it with the Berth that wrote it, or a newer one.",
    );
  if (!Value.Check(About, value)) throw damaged(file, "its first part is not whole");
  return value;
}

export function readManifest(file: string, text: string): Manifest {
  const value = parse(text);
  if (!Value.Check(Manifest, value)) throw damaged(file, "its list of parts is not whole");
  return value;
}

export function damaged(file: string, what: string, cause?: unknown): BackupRefused {
  return new BackupRefused(
    `${file} is damaged: ${what}.`,
    "Nothing was changed. Use another copy or another backup.",
    cause === undefined ? {} : { cause },
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Whatever it is, it is not ours.
    return undefined;
  }
}
