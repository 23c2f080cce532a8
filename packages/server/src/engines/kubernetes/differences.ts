// What of an object in a cluster is otherwise than it was put there, field by field, who changed it, and the patch that takes it back. Pure.
// Who owns a field is written with each object: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
import { canonicalJson } from "../../core/canonical.ts";
import { fieldManager, type JsonPatch } from "../../kubernetes/api.ts";
import type { ManagedFields } from "../../kubernetes/objects.ts";
import type { Difference } from "../engine.ts";

/** Into a field, or into an item of a list: where it stands in the list that is there (-1: it is not), and what it says. */
type Step = string | { readonly key: string; readonly index: number; readonly value: unknown };

/** undefined: there is none of it. */
export interface Change {
  readonly steps: readonly Step[];
  readonly wanted: unknown;
  readonly found: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

/** By what items of a list are told apart, the first that all have. */
const keys = ["name", "mountPath", "topologyKey"] as const;
/** Lists that are Berth's as a whole, when it says one of them: a variable more is another program. */
const closed: ReadonlySet<string> = new Set(["env"]);

/** What `wanted` says and `found` does not; what only `found` says is somebody else's. */
export function changesOf(wanted: unknown, found: unknown, steps: readonly Step[] = []): Change[] {
  if (isEmpty(wanted) && found === undefined) return [];
  if (isFields(wanted) && isFields(found))
    return Object.entries(wanted).flatMap(([field, value]) => changesOf(value, found[field], [...steps, field]));
  if (Array.isArray(wanted) && Array.isArray(found)) return listChanges(wanted, found, steps);
  return canonicalJson(wanted ?? null) === canonicalJson(found ?? null) ? [] : [{ steps, wanted, found }];
}

function listChanges(wanted: readonly unknown[], found: readonly unknown[], steps: readonly Step[]): Change[] {
  const key = keys.find((name) => [...wanted, ...found].every((item) => isFields(item) && typeof item[name] === "string"));
  if (key === undefined) {
    if (wanted.length !== found.length) return [{ steps, wanted, found }];
    return wanted.flatMap((item, index) => changesOf(item, found[index], [...steps, { key: String(index), index, value: found[index] }]));
  }
  const idOf = (item: unknown): string => String((item as Fields)[key]);
  const at = new Map(found.map((item, index) => [idOf(item), index]));
  const asked = new Set(wanted.map(idOf));
  const last = steps.at(-1);
  return [
    ...wanted.flatMap((item): Change[] => {
      const index = at.get(idOf(item)) ?? -1;
      const step = { key: idOf(item), index, value: found[index] ?? item };
      return index < 0 ? [{ steps: [...steps, step], wanted: item, found: undefined }] : changesOf(item, found[index], [...steps, step]);
    }),
    ...(typeof last === "string" && closed.has(last)
      ? found.flatMap((value, index): Change[] =>
          asked.has(idOf(value)) ? [] : [{ steps: [...steps, { key: idOf(value), index, value }], wanted: undefined, found: value }],
        )
      : []),
  ];
}

/** Those that somebody else made: what Berth's own write left otherwise, a webhook for instance, is as it was put. */
export function ofOthers(changes: readonly Change[], managed: readonly ManagedFields[]): Change[] {
  return changes.filter(
    ({ steps, found }) => found === undefined || ownersOf(steps, managed).every(({ manager }) => manager !== fieldManager),
  );
}

/** As people read it. */
export function differenceOf(object: string, { steps, wanted, found }: Change, managed: readonly ManagedFields[]): Difference {
  const owner =
    found === undefined
      ? undefined
      : ownersOf(steps, managed).toSorted((one, other) => ((one.time ?? "") < (other.time ?? "") ? 1 : -1))[0];
  return {
    object,
    path: steps.map((step, index) => (typeof step === "string" ? `${index === 0 ? "" : "."}${step}` : `[${step.key}]`)).join(""),
    ...(wanted === undefined ? {} : { wanted: textOf(wanted) }),
    ...(found === undefined ? {} : { found: textOf(found) }),
    ...(owner?.manager === undefined ? {} : { by: owner.manager }),
    ...(owner?.time === undefined ? {} : { at: owner.time }),
  };
}

/** Everyone who says of a field, or of something above it that is one whole to the cluster. */
export function ownersOf(steps: readonly Step[], managed: readonly ManagedFields[]): ManagedFields[] {
  return managed.filter(({ fieldsV1 }) => {
    let node: unknown = fieldsV1;
    for (const step of steps) {
      if (!isFields(node)) return false;
      const next = node[nameIn(node, step)];
      // A leaf that has parts is one whole.
      if (next === undefined) return node !== fieldsV1 && Object.keys(node).length === 0;
      node = next;
    }
    return node !== undefined;
  });
}

/** As `fieldsV1` names it: `f:spec`, `k:{"name":"web"}`, `i:0`. */
function nameIn(node: Fields, step: Step): string {
  if (typeof step === "string") return `f:${step}`;
  const { index, value } = step;
  const named = Object.keys(node).find((name) => {
    if (!name.startsWith("k:") || !isFields(value)) return false;
    return Object.entries(JSON.parse(name.slice(2)) as Fields).every(
      ([key, part]) => canonicalJson(value[key] ?? null) === canonicalJson(part),
    );
  });
  return named ?? `i:${String(index)}`;
}

/** Takes the changes back, if the object still has that version. */
export function patchOf(changes: readonly Change[], resourceVersion: string): JsonPatch[] {
  const pathOf = (steps: readonly Step[]): string =>
    steps
      .map((step) =>
        typeof step === "string" ? step.replaceAll("~", "~0").replaceAll("/", "~1") : step.index < 0 ? "-" : String(step.index),
      )
      .map((part) => `/${part}`)
      .join("");
  const put = changes.filter(({ wanted }) => wanted !== undefined);
  // From the end, so that each is still where it was found.
  const removed = changes.filter(({ wanted }) => wanted === undefined).toReversed();
  return [
    { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
    ...put.map(({ steps, wanted, found }): JsonPatch => ({
      op: found === undefined ? "add" : "replace",
      path: pathOf(steps),
      value: wanted,
    })),
    ...removed.map(({ steps }): JsonPatch => ({ op: "remove", path: pathOf(steps) })),
  ];
}

const longest = 500;
const textOf = (value: unknown): string => (typeof value === "string" ? value : canonicalJson(value)).slice(0, longest);

/** What the cluster leaves out when it writes an object down. */
const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  value === false ||
  value === 0 ||
  (typeof value === "object" && Object.keys(value).length === 0);

const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value);
