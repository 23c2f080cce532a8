// An overlay over an object that Berth renders for a cluster: merged, and looked at as a whole before anybody applies it. Pure.
import { overlayKinds, type OverlayKind, type Overlays } from "@berth/contract/overlay.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { canonicalJson } from "../canonical.ts";
import { closedTo } from "./kept.ts";
import { isTree, merged, own, type Refusal, type Tree } from "./merge.ts";
import { notAllowed } from "./policy.ts";

export type { Refusal } from "./merge.ts";

/** Characters of an overlay's JSON: an object of a cluster may be 1.5 MB, and every one that is made has it. */
const mostCharacters = 64 * 1024;
const mostDepth = 32;

/** Why an overlay cannot be looked at further; undefined: it can. */
export function overlayTooLarge(overlays: Overlays): { readonly reason: string; readonly way: string } | undefined {
  // First, because what comes after goes down as deep as it is.
  if (depthOf(overlays, mostDepth) > mostDepth)
    return { reason: `it is nested deeper than ${String(mostDepth)} levels`, way: "Make it flatter." };
  if (canonicalJson(overlays).length > mostCharacters)
    return { reason: `it is longer than ${String(mostCharacters)} characters`, way: "Keep large texts in config or in a volume." };
  return undefined;
}

function depthOf(value: unknown, most: number): number {
  if (value === null || typeof value !== "object") return 0;
  if (most < 0) return 1;
  return 1 + Object.values(value).reduce((deepest: number, inner) => Math.max(deepest, depthOf(inner, most - 1)), 0);
}

export interface Overlaid<T> {
  readonly object: T;
  readonly refusals: readonly Refusal[];
}

/**
 * The object with the part that speaks of its kind; the object itself where none does. What a container of a template of pods does not say of its rights is as Berth gives them to
 * the main one, so that a container beside it keeps to the same profile.
 */
export function overlaid<T extends { readonly kind: string }>(
  object: T,
  overlays: Overlays | undefined,
  profile: ComponentSpec["securityProfile"],
): Overlaid<T> {
  const part = overlays !== undefined && isOverlayKind(object.kind) ? overlays[object.kind] : undefined;
  if (part === undefined || !isOverlayKind(object.kind)) return { object, refusals: [] };
  // As it will be sent: without what is undefined.
  const base = JSON.parse(JSON.stringify(object)) as Tree;
  const { tree, refusals } = merged(object.kind, base, part);
  const whole = withRights(tree, rightsOf(base));
  const template = templateOf(whole);
  return {
    object: whole as unknown as T,
    refusals: [
      ...refusals,
      ...closedTo(object.kind, base, tree),
      ...(template === undefined ? [] : notAllowed(template, profile, "spec.template")),
    ],
  };
}

const isOverlayKind = (kind: string): kind is OverlayKind => (overlayKinds as readonly string[]).includes(kind);

function templateOf(tree: Tree): Tree | undefined {
  const template = own(specOf(tree) ?? {}, "template");
  return isTree(template) ? template : undefined;
}

/** What the main container was given; undefined where that is the rights of its node, which no other container is given unasked. */
function rightsOf(base: Tree): Tree | undefined {
  const spec = specOf(templateOf(base));
  const rights = spec === undefined ? undefined : own(containersOf(spec, "containers")[0] ?? {}, "securityContext");
  return isTree(rights) && own(rights, "privileged") !== true ? rights : undefined;
}

function withRights(tree: Tree, rights: Tree | undefined): Tree {
  const template = templateOf(tree);
  const spec = specOf(template);
  if (rights === undefined || spec === undefined) return tree;
  const given = Object.fromEntries(
    ["containers", "initContainers"]
      .filter((list) => own(spec, list) !== undefined)
      .map((list) => [list, containersOf(spec, list).map((one) => ({ ...one, securityContext: { ...rights, ...said(one) } }))]),
  );
  return { ...tree, spec: { ...specOf(tree), template: { ...template, spec: { ...spec, ...given } } } };
}

function specOf(tree: Tree | undefined): Tree | undefined {
  const spec = tree === undefined ? undefined : own(tree, "spec");
  return isTree(spec) ? spec : undefined;
}

function said(container: Tree): Tree {
  const rights = own(container, "securityContext");
  return isTree(rights) ? rights : {};
}

function containersOf(spec: Tree, list: string): readonly Tree[] {
  const all = own(spec, list);
  return Array.isArray(all) ? all.filter(isTree) : [];
}
