// How a later Compose file changes what earlier ones said. Trees in, tree out; positions stay those of the file that had the last word.
// Source: the "Merge Compose files" chapter of the Compose specification; corner cases were compared with its reference implementation.
import type { Findings } from "./findings.ts";
import { isNull, mapping, nullScalar, textScalar, type Entry, type Mapping, type Sequence, type Tree } from "./tree.ts";

type Rule = "replace" | "keyed" | "named" | "listed" | "build" | "dependencies";

/** Where merging is more than: mappings merge by key, lists are appended, anything else is replaced. */
const rules: readonly (readonly [pattern: string, rule: Rule])[] = [
  ["services.*.build", "build"],
  ["services.*.build.args", "keyed"],
  ["services.*.build.labels", "keyed"],
  ["services.*.build.additional_contexts", "keyed"],
  ["services.*.command", "replace"],
  ["services.*.entrypoint", "replace"],
  ["services.*.healthcheck.test", "replace"],
  ["services.*.logging", "replace"],
  ["services.*.depends_on", "dependencies"],
  ["services.*.networks", "named"],
  ["services.*.models", "named"],
  ["services.*.environment", "keyed"],
  ["services.*.labels", "keyed"],
  ["services.*.annotations", "keyed"],
  ["services.*.sysctls", "keyed"],
  ["services.*.deploy.labels", "keyed"],
  ["networks.*.labels", "keyed"],
  ["volumes.*.labels", "keyed"],
  ["services.*.extra_hosts", "keyed"],
  ["services.*.build.extra_hosts", "keyed"],
  ["services.*.env_file", "listed"],
  ["services.*.label_file", "listed"],
  ["services.*.dns", "listed"],
  ["services.*.dns_search", "listed"],
  ["services.*.dns_opt", "listed"],
  ["services.*.tmpfs", "listed"],
  ["services.*.ulimits.*", "replace"],
  ["services.*.x-berth.ports", "replace"],
  ["services.*.x-berth.strategy", "replace"],
  ["services.*.x-berth.schedule", "replace"],
  ["services.*.x-berth.command", "replace"],
  ["services.*.x-berth.entrypoint", "replace"],
  ["services.*.x-berth.probes.*", "replace"],
];
const rulesByLength = Map.groupBy(
  rules.map(([pattern, rule]) => ({ parts: pattern.split("."), rule })),
  ({ parts }) => parts.length,
);

/** How many entries merging may copy in all, so that no chain of files costs without end. */
export interface MergeBudget {
  entries: number;
}
export const newMergeBudget = (): MergeBudget => ({ entries: 2_000_000 });

export interface MergeOptions {
  readonly findings: Findings;
  readonly budget: MergeBudget;
  /** Keep `!reset` and `!override` in the result, because it will be merged over something else. */
  readonly keepTags: boolean;
}

/** `over` merged over `base`; undefined = removed by `!reset`. */
export function merge(base: Tree, over: Tree, path: readonly string[], options: MergeOptions): Tree | undefined {
  if (over.tag === "reset") return options.keepTags ? over : undefined;
  if (over.tag === "override" || base.tag === "reset") return over;
  const rule = ruleAt(path);
  if (rule === "replace") return over;
  if (isNull(over)) return base;
  if (isNull(base)) return over;
  const [left, right] = rule === undefined ? [base, over] : [shaped(base, rule), shaped(over, rule)];
  if (left.type === "mapping" && right.type === "mapping")
    return rule === "keyed" ? mergeKeyed(left, right, options) : mergeMappings(left, right, path, options);
  if (left.type === "sequence" && right.type === "sequence") {
    options.budget.entries -= left.items.length + right.items.length;
    return { ...right, items: [...left.items, ...right.items] };
  }
  if (left.type === "scalar" && right.type === "scalar") return over;
  options.findings.invalid(over.at, {
    key: path.at(-1) ?? "",
    component: path[0] === "services" ? path[1] : undefined,
    reason: `\`${path.join(".")}\` is ${kindName(over)} here and ${kindName(base)} in ${base.at.file}:${base.at.line}, so the two cannot be merged`,
    hint: "Write both the same way, or put `!override` before this one.",
  });
  return over;
}

/** Mappings merge by key; the result keeps the order of the base. */
export function mergeMappings(base: Mapping, over: Mapping, path: readonly string[], options: MergeOptions): Mapping {
  options.budget.entries -= base.entries.size + over.entries.size;
  if (options.budget.entries < 0) {
    options.findings.invalid(over.at, {
      key: path.at(-1) ?? "",
      reason: "the files are too large together",
      hint: "Split them into several stacks.",
    });
    return over;
  }
  const entries = new Map(base.entries);
  for (const [key, entry] of over.entries) {
    const known = entries.get(key);
    const value = known === undefined ? entry.value : merge(known.value, entry.value, [...path, key], options);
    if (value === undefined) entries.delete(key);
    else entries.set(key, { ...entry, value });
  }
  return { ...over, entries };
}

/** `NAME: value` pairs: the later one counts, also when it says nothing, which means "from the shell". */
function mergeKeyed(base: Mapping, over: Mapping, options: MergeOptions): Mapping {
  options.budget.entries -= base.entries.size + over.entries.size;
  const entries = new Map(base.entries);
  for (const [key, entry] of over.entries) {
    if (entry.value.tag === "reset" && !options.keepTags) entries.delete(key);
    else entries.set(key, entry);
  }
  return { ...over, entries };
}

/** Trees share parts (aliases, `extends`); each part is worked on once. */
const untagged = new WeakMap<Tree, Tree>();

/** What is left when nothing more is merged: `!reset` entries go, tags go. */
export function withoutTags(tree: Tree): Tree {
  const known = untagged.get(tree);
  if (known !== undefined) return known;
  const result = stripped(tree);
  untagged.set(tree, result);
  return result;
}

function stripped(tree: Tree): Tree {
  switch (tree.type) {
    case "scalar":
      return tree.tag === undefined ? tree : { ...tree, tag: undefined };
    case "sequence":
      return { ...tree, tag: undefined, items: tree.items.map(withoutTags) };
    case "mapping":
      return {
        ...tree,
        tag: undefined,
        entries: new Map(
          [...tree.entries]
            .filter(([, entry]) => entry.value.tag !== "reset")
            .map(([key, entry]) => [key, { ...entry, value: withoutTags(entry.value) }]),
        ),
      };
  }
}

function ruleAt(path: readonly string[]): Rule | undefined {
  return rulesByLength.get(path.length)?.find(({ parts }) => parts.every((part, index) => part === "*" || part === path[index]))?.rule;
}

/** Brings short and long syntax to one shape, so that they can be merged. */
function shaped(tree: Tree, rule: Rule): Tree {
  switch (rule) {
    case "build":
      return tree.type === "scalar" ? mapping([{ key: "context", keyAt: tree.at, value: tree }], tree.at) : tree;
    case "keyed":
      return keyed(tree);
    case "named":
      return named(tree, (at) => nullScalar(at));
    case "dependencies":
      return named(tree, (at) => mapping([{ key: "condition", keyAt: at, value: textScalar("service_started", at) }], at));
    case "listed":
      return tree.type === "scalar" ? { type: "sequence", items: [tree], at: tree.at } : tree;
    case "replace":
      return tree;
  }
}

/** `[A=1, B]` -> `{A: "1", B: null}`; a mapping stays. The later of two equal keys wins. */
export function keyed(tree: Tree): Tree {
  if (tree.type !== "sequence" || !allScalars(tree)) return tree;
  const entries = new Map<string, Entry>();
  for (const item of tree.items) {
    const text = item.type === "scalar" ? item.text : "";
    const equals = text.indexOf("=");
    const key = equals === -1 ? text : text.slice(0, equals);
    const uncertain = item.type === "scalar" && item.uncertain === true ? { uncertain: true } : {};
    entries.set(key, {
      key,
      keyAt: item.at,
      value: equals === -1 ? nullScalar(item.at) : { ...textScalar(text.slice(equals + 1), item.at), ...uncertain },
    });
  }
  return { type: "mapping", entries, at: tree.at, tag: tree.tag };
}

/** `[a, b]` -> `{a: ..., b: ...}`. */
export function named(tree: Tree, fill: (at: Tree["at"]) => Tree): Tree {
  if (tree.type !== "sequence" || !allScalars(tree)) return tree;
  return {
    ...mapping(
      tree.items.map((item) => ({ key: item.type === "scalar" ? item.text : "", keyAt: item.at, value: fill(item.at) })),
      tree.at,
    ),
    tag: tree.tag,
  };
}

function allScalars(tree: Sequence): boolean {
  return tree.items.every((item) => item.type === "scalar");
}

function kindName(tree: Tree): string {
  return tree.type === "scalar" ? "a single value" : tree.type === "sequence" ? "a list" : "a mapping";
}
