// Looks at images whose tag may have moved: the registry is asked what it stands for now, and a rollout begins of those components whose newest release is of another one.
// Asked twice, or ten times at once, it is the same look: what was accepted already is not accepted again (promise 2).
import { cause, type Cause } from "@berth/contract/causes.ts";
import { BerthError } from "../core/errors.ts";
import { digestOf, isBelow, partsOf, repositoryOf, type Standing } from "../core/image/reference.ts";
import { appendAudit } from "../db/audit.ts";
import type { Db } from "../db/pool.ts";
import type { Trx } from "../db/transaction.ts";
import { findComponentById, type ComponentRow } from "../resources/components/store.ts";
import { resolveIntent } from "../resources/config/resolve.ts";
import { stackEvent } from "../resources/intent.ts";
import { newestRelease } from "../resources/releases/store.ts";
import { acceptRollouts, type Wanted } from "../resources/rollouts/accept.ts";
import { findRollout } from "../resources/rollouts/store.ts";
import { stackHandle, type StackHandle } from "../resources/stacks/service.ts";
import { findStackById, lockStack } from "../resources/stacks/store.ts";
import { pendingLooks, saveLook, type Look } from "../resources/webhooks/store.ts";
import type { HandlerContext } from "./loop.ts";

export interface FollowDeps {
  readonly db: Db;
  readonly clock: () => Date;
  /** Never takes what a host has for it. */
  readonly ask: (image: string, signal: AbortSignal) => Promise<Standing>;
  /** Where Berth pushes to; absent: nowhere. */
  readonly registry?: string;
}

/** ms after which a registry that does not answer is asked again: doubled each time, up to the longest. */
const patience = { first: 2_000, longest: 300_000 };
/** ms after which a rollout that is finding out by itself what its image is is looked at again. */
const underWay = 1_000;

/** One stack, so that all of its components that follow one image begin together, with the same digest, in the order in which they depend on each other. */
export async function reconcileLooks(
  { db, clock, ask, registry }: FollowDeps,
  stackId: string,
  { signal, commit }: Pick<HandlerContext, "signal" | "commit">,
): Promise<{ readonly again?: Date }> {
  const looks = await pendingLooks(db, stackId);
  const standing = new Map<string, Standing>();
  // A component may not run what was built for others, wherever that stands now.
  for (const image of new Set(looks.map((look) => look.image)))
    if (registry === undefined || !isBelow(registry, image)) standing.set(image, await ask(image, signal));
  if (looks.length === 0) return {};
  const waits = await commit((trx) => settle(trx, stackId, looks, standing));
  return waits.length === 0 ? {} : { again: new Date(clock().getTime() + Math.min(...waits)) };
}

/** Answers how long those that are not done yet are to wait, ms. */
async function settle(trx: Trx, stackId: string, looks: readonly Look[], standing: ReadonlyMap<string, Standing>): Promise<number[]> {
  const found = await findStackById(trx, stackId);
  const locked = found === undefined ? undefined : await lockStack(trx, found.name);
  if (locked === undefined || locked.id !== stackId || locked.delete_requested_at !== null) return [];
  const stack = stackHandle(locked);
  const waits: number[] = [];
  const moved: Moved[] = [];
  for (const look of looks) {
    const component = await findComponentById(trx, look.componentId, { lock: true });
    // Changed, stopped or taken out of our hands since: whoever did that decides.
    if (
      component === undefined ||
      component.spec.follow !== true ||
      component.spec.image !== look.image ||
      component.stopped ||
      component.held
    )
      continue;
    const now = standing.get(look.image);
    if (now === undefined) {
      await saveLook(trx, look, { cause: null, again: false });
    } else if ("cause" in now) {
      await failed(trx, stack, component, look, now);
      if (now.retryable) waits.push(Math.min(patience.longest, patience.first * 2 ** Math.min(look.failures, 20)));
    } else {
      const known = await newestDigests(trx, component);
      if (known === "underWay") waits.push(underWay);
      else if (known.includes(now.digest)) await saveLook(trx, look, { cause: null, again: false });
      else {
        const wanted = await wantedOf(trx, stack, component, look.image, now.digest);
        if ("code" in wanted) await failed(trx, stack, component, look, { cause: wanted, retryable: false });
        else moved.push({ wanted, look, from: known[0] ?? "" });
      }
    }
  }
  await begin(trx, stack, moved);
  return waits;
}

/** Of the newest release, and of the newest rollout where that has found its image and has no release yet. */
async function newestDigests(trx: Trx, component: ComponentRow): Promise<string[] | "underWay"> {
  const rollout = component.last_rollout === 0 ? undefined : await findRollout(trx, component.id, component.last_rollout);
  if (rollout?.ended_at === null && rollout.phase === "building" && rollout.image_reference === null && rollout.build_id === null)
    return "underWay";
  const release = await newestRelease(trx, component.id);
  const accepted = rollout?.image_reference == null ? undefined : digestOf(rollout.image_reference);
  return [release?.artifact_digest, accepted].filter((digest) => digest !== undefined);
}

/** The component as it is defined now, with the image by its digest; a cause when it could not be released. */
async function wantedOf(trx: Trx, stack: StackHandle, component: ComponentRow, image: string, digest: string): Promise<Wanted | Cause> {
  try {
    const intent = await resolveIntent(trx, stack, component.id, component.spec);
    return { component, spec: component.spec, ...intent, from: { image, reference: `${repositoryOf(image)}@${digest}` } };
  } catch (error) {
    if (error instanceof BerthError && error.code === "secret_not_found")
      return cause("secret_missing", { secret: String(error.params["secret"]) });
    throw error;
  }
}

interface Moved {
  readonly wanted: Wanted;
  readonly look: Look;
  /** The digest of before; empty: there was none. */
  readonly from: string;
}

async function begin(trx: Trx, stack: StackHandle, moved: readonly Moved[]): Promise<void> {
  const [first] = moved;
  if (first === undefined) return;
  const { by } = first.look;
  const images = [...new Set(moved.map(({ look }) => look.image))];
  const accepted = await acceptRollouts(
    trx,
    { by },
    stack,
    moved.map(({ wanted }) => wanted),
    `${images.join(", ")} moved`,
  );
  for (const { wanted, look, from } of moved) {
    const reference = "image" in wanted.from ? (wanted.from.reference ?? "") : "";
    await saveLook(trx, look, { cause: null, again: false });
    await stackEvent(trx, stack, {
      code: "image_moved",
      component: wanted.component.name,
      params: { image: look.image, from: from === "" ? "nothing" : from, to: digestOf(reference) ?? "", by: look.by },
    });
  }
  await appendAudit(trx, {
    principal: by,
    action: "stacks.deploy",
    object: `stack:${stack.name}`,
    params: { version: accepted.version, components: moved.map(({ wanted }) => wanted.component.name), removed: [] },
  });
}

/** Said once for as long as it stays the same. */
async function failed(
  trx: Trx,
  stack: StackHandle,
  component: ComponentRow,
  look: Look,
  why: { readonly cause: Cause; readonly retryable: boolean },
): Promise<void> {
  await saveLook(trx, look, { cause: why.cause, again: why.retryable });
  if (look.cause?.code === why.cause.code) return;
  await stackEvent(trx, stack, {
    code: "image_look_failed",
    component: component.name,
    params: { image: look.image, registry: partsOf(look.image).registry },
    cause: why.cause,
  });
}
