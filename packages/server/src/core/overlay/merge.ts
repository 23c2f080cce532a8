// Strategic merge as Kubernetes has it: mappings by key, lists whose items have a name by that name, everything else replaced. Pure and deterministic.
// https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
import type { OverlayKind } from "@berth/contract/overlay.ts";

export type Tree = Readonly<Record<string, unknown>>;
/** As people read it: `spec.template.spec.containers[web].image`. */
export type Path = string;

/** Why a part cannot be merged. `way`: what to write instead. */
export interface Refusal {
  readonly path: Path;
  readonly reason: string;
  readonly way: string;
}

/** `$patch: replace` and `$patch: delete`, in a mapping or as a list's item. */
export const directive = "$patch";

/** By what items of a list are told apart, as the types of the Kubernetes API say (`patchMergeKey`). Lists of other names are replaced. */
const podKeys: Readonly<Record<string, string>> = {
  containers: "name",
  initContainers: "name",
  volumes: "name",
  imagePullSecrets: "name",
  hostAliases: "ip",
  topologySpreadConstraints: "topologyKey",
  resourceClaims: "name",
  schedulingGates: "name",
  env: "name",
  ports: "containerPort",
  volumeMounts: "mountPath",
  volumeDevices: "devicePath",
};
const keysOf: Readonly<Record<OverlayKind, Readonly<Record<string, string>>>> = {
  Deployment: podKeys,
  Job: podKeys,
  Service: { ports: "port" },
  HTTPRoute: {},
  PersistentVolumeClaim: {},
  PodDisruptionBudget: {},
};

/** The name by which items of the list at `name` are told apart; undefined: it is replaced as a whole. */
export const keyOf = (kind: OverlayKind, name: string): string | undefined =>
  Object.hasOwn(keysOf[kind], name) ? keysOf[kind][name] : undefined;

export const isTree = (value: unknown): value is Tree => value !== null && typeof value === "object" && !Array.isArray(value);
export const own = (tree: Tree, key: string): unknown => (Object.hasOwn(tree, key) ? tree[key] : undefined);
export const at = (path: Path, key: string): Path =>
  path === "" ? key : /^[A-Za-z$]\w*$/.test(key) ? `${path}.${key}` : `${path}[${key}]`;

/** `part` over `base`, with what could not be merged, which is then left out. */
export function merged(kind: OverlayKind, base: Tree, part: Tree): { readonly tree: Tree; readonly refusals: readonly Refusal[] } {
  const refusals: Refusal[] = [];
  const tree = mergeTrees(kind, base, part, "", refusals) ?? {};
  return { tree, refusals };
}

/** undefined: it is taken away. */
function mergeTrees(kind: OverlayKind, base: Tree | undefined, part: Tree, path: Path, refusals: Refusal[]): Tree | undefined {
  const { [directive]: how, ...rest } = part;
  if (how === "delete") return undefined;
  if (how !== undefined && how !== "replace")
    refusals.push({
      path: at(path, directive),
      reason: "it is `replace` or `delete`",
      way: "Remove it to merge, which is what happens without it.",
    });
  const from: Tree = how === "replace" || base === undefined ? {} : base;
  const entries = new Map(Object.entries(from));
  for (const [key, value] of Object.entries(rest)) {
    // Null and an absent key are the same, as everywhere in a Compose file.
    if (value === null) continue;
    const result = mergeValues(kind, own(from, key), value, key, at(path, key), refusals);
    if (result === undefined) entries.delete(key);
    else entries.set(key, result);
  }
  return Object.fromEntries(entries);
}

function mergeValues(kind: OverlayKind, base: unknown, part: unknown, name: string, path: Path, refusals: Refusal[]): unknown {
  if (isTree(part)) return mergeTrees(kind, isTree(base) ? base : undefined, part, path, refusals);
  if (!Array.isArray(part)) return part;
  const items = Array.isArray(base) ? (base as readonly unknown[]) : [];
  if (kind === "HTTPRoute" && path === "spec.rules") return mergeEvery(kind, items, part, path, refusals);
  const key = keyOf(kind, name);
  return key === undefined ? withoutNulls(part) : mergeItems(kind, items, part, key, path, refusals);
}

/** Items of the same key are merged; others come after those that are there, in the order in which they are written. */
function mergeItems(
  kind: OverlayKind,
  base: readonly unknown[],
  part: readonly unknown[],
  key: string,
  path: Path,
  refusals: Refusal[],
): unknown[] {
  const isReplaced = part.some((item) => isTree(item) && item[directive] === "replace" && own(item, key) === undefined);
  const entries = new Map<unknown, unknown>(isReplaced ? [] : base.map((item) => [isTree(item) ? own(item, key) : item, item]));
  const seen = new Set<unknown>();
  for (const item of part) {
    if (!isTree(item)) {
      refusals.push({ path, reason: `its items are mappings with a \`${key}\``, way: `Write each as \`- ${key}: ...\`.` });
      continue;
    }
    const name = own(item, key);
    if (name === undefined || name === null) {
      if (item[directive] !== "replace")
        refusals.push({ path, reason: `an item has no \`${key}\`, by which items are told apart`, way: `Give each a \`${key}\`.` });
      continue;
    }
    if (seen.has(name)) refusals.push({ path: `${path}[${String(name)}]`, reason: "it is there twice", way: "Write it once." });
    seen.add(name);
    const known = entries.get(name);
    const result = mergeTrees(kind, isTree(known) ? known : undefined, item, `${path}[${String(name)}]`, refusals);
    if (result === undefined) entries.delete(name);
    else entries.set(name, result);
  }
  return [...entries.values()];
}

/** The rules of a route have no names, and Berth writes more of them than people see: one item is merged into each that leads users, and none into those that prove a release. */
function mergeEvery(kind: OverlayKind, base: readonly unknown[], part: readonly unknown[], path: Path, refusals: Refusal[]): unknown[] {
  const [item, ...more] = part;
  if (!isTree(item) || more.length > 0) {
    refusals.push({ path, reason: "it has one item, which is merged into every rule that leads users", way: "Write one rule." });
    return [...base];
  }
  return base.map((rule) =>
    isTree(rule) && own(rule, "filters") === undefined ? mergeTrees(kind, rule, item, `${path}[0]`, refusals) : rule,
  );
}

/** A list that is taken as it is, without what says nothing. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isTree(value)) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([key, inner]) => (inner === null ? [] : [[key, withoutNulls(inner)]])));
}
