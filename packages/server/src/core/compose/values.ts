// Values of a Compose file as the types that are wanted. What does not fit is reported with its position and read as if it were absent; nothing throws.
import type { Findings } from "./findings.ts";
import { areas, type AreaName } from "./table.ts";
import type { KeyRule } from "./rule.ts";
import { nearest } from "../nearest.ts";
import { parseBytes, parseDuration } from "./units.ts";
import { isEmpty, isNull, type Mapping, type Position, type Tree } from "./tree.ts";

/** Where values are read: whose they are, for problems. */
export interface Place {
  readonly findings: Findings;
  readonly component: string;
}

export function complain(place: Place, at: Position, key: string, reason: string, hint = ""): undefined {
  place.findings.invalid(at, { key, component: place.component, reason, hint });
  return undefined;
}
export function refuse(place: Place, at: Position, key: string, reason: string, hint: string): undefined {
  place.findings.refused(at, { key, component: place.component, reason, hint });
  return undefined;
}

/** A single value as Compose prints it; undefined for null and for an absent one. */
export function textOf(place: Place, tree: Tree | undefined, key: string): string | undefined {
  if (tree === undefined || isNull(tree)) return undefined;
  if (tree.type === "scalar") return tree.text;
  return complain(place, tree.at, key, `\`${key}\` is a single value`, "");
}

/** Variables fill in text, so `"true"` counts as true; so do yes, on, y and their opposites. */
export function flagOf(place: Place, tree: Tree | undefined, key: string): boolean | undefined {
  const text = textOf(place, tree, key)?.toLowerCase();
  if (text === undefined || tree === undefined) return undefined;
  if (["true", "yes", "on", "y"].includes(text)) return true;
  if (["false", "no", "off", "n"].includes(text)) return false;
  return complain(place, tree.at, key, `\`${key}\` is true or false, not \`${short(text)}\``, "");
}

export function numberOf(
  place: Place,
  tree: Tree | undefined,
  key: string,
  limits: { readonly min: number; readonly max: number; readonly whole: boolean },
): number | undefined {
  const text = textOf(place, tree, key);
  if (text === undefined || tree === undefined) return undefined;
  const value = /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (Number.isNaN(value) || (limits.whole && !Number.isInteger(value)))
    return complain(place, tree.at, key, `\`${key}\` is a ${limits.whole ? "whole " : ""}number, not \`${short(text)}\``, "");
  if (value >= limits.min && value <= limits.max) return value;
  return complain(place, tree.at, key, `\`${key}\` lies between ${limits.min} and ${limits.max}, and ${short(text)} does not`, "");
}

/** Milliseconds. */
export function durationOf(place: Place, tree: Tree | undefined, key: string): number | undefined {
  const text = textOf(place, tree, key);
  if (text === undefined || tree === undefined) return undefined;
  return (
    parseDuration(text) ??
    complain(place, tree.at, key, `\`${short(text)}\` is not a duration`, "Write it with a unit, as `10s` or `1m30s`.")
  );
}

export function bytesOf(place: Place, tree: Tree | undefined, key: string): number | undefined {
  const text = textOf(place, tree, key);
  if (text === undefined || tree === undefined) return undefined;
  return parseBytes(text) ?? complain(place, tree.at, key, `\`${short(text)}\` is not a size`, "Write it as `512m` or `1g`.");
}

/** The items of a list. */
export function itemsOf(place: Place, tree: Tree | undefined, key: string): readonly Tree[] {
  if (tree === undefined || isNull(tree)) return [];
  if (tree.type === "sequence") return tree.items;
  complain(place, tree.at, key, `\`${key}\` is a list`, "Put each item on a line of its own, after `- `.");
  return [];
}

/** A list of single values, or one of them. */
export function textsOf(place: Place, tree: Tree | undefined, key: string): string[] {
  if (tree?.type === "scalar") return isNull(tree) ? [] : [tree.text];
  return itemsOf(place, tree, key)
    .map((item) => textOf(place, item, key))
    .filter((text) => text !== undefined);
}

export function mappingOf(place: Place, tree: Tree | undefined, key: string): Mapping | undefined {
  if (tree === undefined || isNull(tree)) return undefined;
  if (tree.type === "mapping") return tree;
  return complain(place, tree.at, key, `\`${key}\` is a mapping`, "Write `name: value` lines below it.");
}

export function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** Holds every key of a mapping against its area of the table: notes harmless ones, reports refused and unknown ones. */
export function checkKeys(place: Place, area: AreaName, tree: Mapping): void {
  const rules: readonly KeyRule[] = areas[area].rules;
  for (const entry of tree.entries.values()) {
    if (entry.key.startsWith("x-")) continue;
    const rule = rules.find((candidate) => candidate.key === entry.key);
    if (rule === undefined) unknownKey(place, area, entry.key, entry.keyAt);
    else if (!isEmpty(entry.value) && !asksForNothing(rule, entry.value)) applyRule(place, area, rule, entry.keyAt);
  }
}

function applyRule(place: Place, area: AreaName, rule: KeyRule, at: Position): void {
  const name = within(area, rule.key);
  if (rule.class === "harmless") place.findings.note("compose_key_ignored", at, place.component, { key: name, instead: rule.text });
  if (rule.class === "refused") place.findings.refused(at, { key: name, component: place.component, reason: rule.text, hint: rule.hint });
}

function asksForNothing(rule: KeyRule, value: Tree): boolean {
  const fine = (tree: Tree): boolean =>
    tree.type === "scalar" && (rule.fine ?? []).some((good) => good === tree.value || String(good) === tree.text);
  return value.type === "sequence" ? value.items.every(fine) : fine(value);
}

/** `deploy.mode` rather than `mode`, so that a message can be found in the file. */
function within(area: AreaName, key: string): string {
  const parts = areas[area].path
    .split(".")
    .slice(2)
    .map((part) => part.replace("[]", ""))
    .filter((part) => part !== "OTHER" && part !== "NAME");
  return [...parts, key].join(".");
}

const areaNames = Object.keys(areas) as AreaName[];

function unknownKey(place: Place, area: AreaName, key: string, at: Position): void {
  const title = (name: AreaName) =>
    name === "top" ? "the top level" : areas[name].title.replace(/^[A-Z]/, (letter) => letter.toLowerCase());
  const here = areas[area].rules.map((rule) => rule.key);
  const close = nearest(key, here);
  const elsewhere = close === undefined ? areaNames.find((other) => areas[other].rules.some((rule) => rule.key === key)) : undefined;
  const hint =
    close !== undefined
      ? `Did you mean \`${close}\`?`
      : elsewhere === undefined
        ? "Own keys start with `x-`."
        : `It belongs to ${title(elsewhere)}.`;
  place.findings.invalid(at, {
    key: within(area, key),
    component: place.component,
    reason: `\`${short(key)}\` is not a key of ${title(area)}`,
    hint,
  });
}
