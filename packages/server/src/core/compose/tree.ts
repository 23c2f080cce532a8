// A Compose file as a tree in which every node knows where it was written, so that a problem found after merging still names file, line and column.
// Trees are never changed in place: aliases, `extends` and `include` share their parts.

export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** `!reset` removes what earlier files said, `!override` replaces it instead of merging. */
export type MergeTag = "reset" | "override";

interface Placed {
  readonly at: Position;
  readonly tag?: MergeTag | undefined;
}
/** `text` is the value as Compose prints it where it wants a string: `1.10` is `1.1`, null is empty. */
export interface Scalar extends Placed {
  readonly type: "scalar";
  readonly value: string | number | boolean | null;
  readonly text: string;
  /** It names a variable that the caller has not answered for yet, so nothing should be asked for because of it. */
  readonly uncertain?: boolean;
}
export interface Sequence extends Placed {
  readonly type: "sequence";
  readonly items: readonly Tree[];
}
export interface Entry {
  readonly key: string;
  readonly keyAt: Position;
  readonly value: Tree;
}
export interface Mapping extends Placed {
  readonly type: "mapping";
  readonly entries: ReadonlyMap<string, Entry>;
}
export type Tree = Scalar | Sequence | Mapping;

export const nowhere: Position = { file: "", line: 0, column: 0 };

export function textScalar(text: string, at: Position): Scalar {
  return { type: "scalar", value: text, text, at };
}
export function nullScalar(at: Position): Scalar {
  return { type: "scalar", value: null, text: "", at };
}
export function sequence(items: readonly Tree[], at: Position): Sequence {
  return { type: "sequence", items, at };
}
export function mapping(entries: Iterable<Entry>, at: Position): Mapping {
  return { type: "mapping", entries: new Map([...entries].map((entry) => [entry.key, entry])), at };
}

/** The mapping with one entry replaced or added. */
export function withEntry(tree: Mapping, entry: Entry): Mapping {
  return { ...tree, entries: new Map(tree.entries).set(entry.key, entry) };
}
export function withoutEntry(tree: Mapping, key: string): Mapping {
  if (!tree.entries.has(key)) return tree;
  const entries = new Map(tree.entries);
  entries.delete(key);
  return { ...tree, entries };
}

/** The value under a key; null and an absent key are the same to Compose. */
export function get(tree: Tree | undefined, key: string): Tree | undefined {
  if (tree?.type !== "mapping") return undefined;
  const value = tree.entries.get(key)?.value;
  return value === undefined || isNull(value) ? undefined : value;
}

export function isNull(tree: Tree): boolean {
  return tree.type === "scalar" && tree.value === null;
}

/** Null, `[]`, `{}` and `""` say nothing. */
export function isEmpty(tree: Tree): boolean {
  switch (tree.type) {
    case "scalar":
      return tree.value === null || tree.value === "";
    case "sequence":
      return tree.items.length === 0;
    case "mapping":
      return tree.entries.size === 0;
  }
}

/** The tree with each of its scalars replaced. */
export function mapScalars(tree: Tree, change: (scalar: Scalar) => Scalar): Tree {
  switch (tree.type) {
    case "scalar":
      return change(tree);
    case "sequence":
      return { ...tree, items: tree.items.map((item) => mapScalars(item, change)) };
    case "mapping":
      return {
        ...tree,
        entries: new Map([...tree.entries].map(([key, entry]) => [key, { ...entry, value: mapScalars(entry.value, change) }])),
      };
  }
}

/** Plain data without positions. */
export function plain(tree: Tree): unknown {
  switch (tree.type) {
    case "scalar":
      return tree.value;
    case "sequence":
      return tree.items.map(plain);
    case "mapping":
      return Object.fromEntries([...tree.entries.values()].map((entry) => [entry.key, plain(entry.value)]));
  }
}

/** Where the value at a JSON pointer was written: the nearest part of it that exists. */
export function locate(tree: Tree, pointer: string): Position {
  let here = tree;
  let at = tree.at;
  for (const part of pointer.split("/").slice(1)) {
    const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (here.type === "mapping") {
      const entry = here.entries.get(key);
      if (entry === undefined) return at;
      at = entry.keyAt;
      here = entry.value;
    } else if (here.type === "sequence") {
      const item = here.items[Number(key)];
      if (item === undefined) return at;
      at = item.at;
      here = item;
    } else return at;
  }
  return at;
}
