// Where names of clusters are in what comes in and goes out, by the marks of the contract's schemas (`x-berth`), and what is put in their place. Pure.
import type { TSchema } from "typebox";

/** A copy of the value with other names of clusters; what has none is the same. */
export type Rewrite = (value: unknown, of: (name: string) => string) => unknown;

interface Schema {
  readonly "x-berth"?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** undefined: nothing of that schema names a cluster. */
export function clusterNamesIn(schema: TSchema | undefined): Rewrite | undefined {
  return schema === undefined ? undefined : rewriteOf(schema as Schema);
}

function rewriteOf({ "x-berth": mark, properties, patternProperties, items, anyOf }: Schema): Rewrite | undefined {
  if (mark === "cluster") return (value, of) => (typeof value === "string" ? of(value) : value);
  if (mark === "facts") return (value, of) => (isRecord(value) ? renameFacts(value, of) : value);
  if (anyOf !== undefined) {
    const parts = anyOf.flatMap((one) => rewriteOf(one) ?? []);
    return parts.length === 0 ? undefined : (value, of) => parts.reduce((now, part) => part(now, of), value);
  }
  if (items !== undefined) {
    const item = rewriteOf(items);
    return item && ((value, of) => (Array.isArray(value) ? value.map((one) => item(one, of)) : value));
  }
  const [each] = Object.values(patternProperties ?? {}).flatMap((one) => rewriteOf(one) ?? []);
  if (each !== undefined)
    return (value, of) => (isRecord(value) ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, each(one, of)])) : value);
  const parts = Object.entries(properties ?? {}).flatMap(([key, one]): [string, Rewrite][] => {
    const part = rewriteOf(one);
    return part === undefined ? [] : [[key, part]];
  });
  if (parts.length === 0) return undefined;
  return (value, of) => {
    if (!isRecord(value)) return value;
    const changed = parts.flatMap(([key, part]): [string, unknown][] => (value[key] === undefined ? [] : [[key, part(value[key], of)]]));
    return changed.length === 0 ? value : { ...value, ...Object.fromEntries(changed) };
  };
}

/** Parameters of a sentence, with other names in `cluster` and in `clusters`. */
export function renameFacts<T extends Readonly<Record<string, unknown>>>(params: T, of: (name: string) => string): T {
  const { cluster, clusters } = params;
  return {
    ...params,
    ...(typeof cluster === "string" ? { cluster: of(cluster) } : {}),
    ...(typeof clusters === "string" ? { clusters: clusters.split(", ").map(of).join(", ") } : {}),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
