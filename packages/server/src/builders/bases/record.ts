// The base images that this installation made: one small file below its home, which the builder of images reads whenever it needs a base. Whole or absent, never half written.
import { readFileSync } from "node:fs";
import { Type } from "typebox";
import { Value } from "typebox/value";
import type { MadeBase } from "../../core/image/bases.ts";
import { writeWhole } from "../../os/files.ts";

const Image = Type.Object({ reference: Type.String(), id: Type.String(), layers: Type.Array(Type.String()), size: Type.Number() });
const Base = Type.Object({
  name: Type.String(),
  runtime: Type.Optional(Type.Union((["node", "python", "go", "java", "php", "ruby", "rust"] as const).map((name) => Type.Literal(name)))),
  line: Type.String(),
  version: Type.String(),
  madeAt: Type.String(),
  recipe: Type.String(),
  on: Type.Optional(Type.String()),
  build: Image,
  run: Type.Optional(Image),
  packages: Type.Record(Type.String(), Type.String()),
  beside: Type.Optional(
    Type.Union([Type.Object({ copy: Type.Array(Type.String()) }), Type.Object({ packages: Type.Array(Type.String()) })]),
  ),
});
const Record_ = Type.Object({
  format: Type.Literal(1),
  /** In the order in which they were made. */
  bases: Type.Array(Base),
  /** Labels what is being made; what carries it when nobody makes anything any more was left by a crash. */
  making: Type.Optional(Type.String()),
});

export interface BaseRecord {
  readonly format: 1;
  readonly bases: readonly MadeBase[];
  readonly making?: string | undefined;
}

const none: BaseRecord = { format: 1, bases: [] };

/** The file is not one that Berth wrote. */
export class BaseRecordDamaged extends Error {
  readonly hint: string;
  constructor(path: string, reason: string) {
    super(`${path}, which names the base images that were made here, cannot be read: ${reason}.`);
    this.name = "BaseRecordDamaged";
    this.hint = "Move it away: builds then use the makers' base images, until `berth images build` has made new ones.";
  }
}

/** What was made so far; nothing when there is no such file. Errors: BaseRecordDamaged. */
export function readBases(path: string): BaseRecord {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return none;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BaseRecordDamaged(path, error instanceof Error ? error.message : String(error));
  }
  if (Value.Check(Record_, value)) return value;
  const [first] = Value.Errors(Record_, value);
  throw new BaseRecordDamaged(path, `${first?.instancePath ?? ""} ${first?.message ?? "is not valid"}`.trim());
}

export function writeBases(path: string, record: BaseRecord): void {
  writeWhole(path, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o644, durable: true });
}
