// What somebody else made of a component in its cluster: taken back or only told, as its stack says, and in both cases written down with who did it.
import { canonicalJson } from "../../core/canonical.ts";
import { appendAudit } from "../../db/audit.ts";
import type { Trx } from "../../db/transaction.ts";
import { refOf, type Difference } from "../../engines/engine.ts";
import { saveDrift } from "../../resources/components/store.ts";
import { stackEvent } from "../../resources/intent.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";

export interface SeenDrift {
  /** The cluster replaces instances by itself: whoever acts now acts on what is gone in a moment. */
  readonly waits: boolean;
  /** The number of instances that is to be left as somebody else said it. */
  readonly replicas: number | undefined;
  /** Somebody changed something that is taken back, and it is told. */
  readonly told: boolean;
}

const none: SeenDrift = { waits: false, replicas: undefined, told: false };

/** Looks, tells, and takes back what the engine itself has to; what was changed of routes and of the number of instances, the step that follows does. */
export async function seeDrift(deps: ComponentLoopDeps, loaded: Loaded, context: PassContext): Promise<SeenDrift> {
  const { component, stack } = loaded;
  const ref = refOf(stack, component.name);
  const engine = deps.places.engine(stack.cluster);
  if (engine.drift === undefined) return none;
  const [found, routes] = await Promise.all([
    engine.drift(ref, context.signal),
    deps.places.traffic(stack.cluster).drift?.(ref, context.signal) ?? [],
  ]);
  const differences = [...found.differences, ...routes];
  const isReported = stack.drift === "report";
  const mended = isReported ? [] : found.differences.filter(({ path }) => path !== "spec.replicas");
  const known = new Set(component.drift.map((one) => canonicalJson(one)));
  const isNew = differences.length !== known.size || differences.some((one) => !known.has(canonicalJson(one)));
  const save = (trx: Trx): Promise<void> => saveDrift(trx, component.id, differences);
  if (mended.length > 0)
    await engine.repair?.(ref, context.fence, context.signal).catch(async (error: unknown) => {
      // It stays as somebody made it, which is to be seen.
      if (isNew) await context.commit(save);
      throw error;
    });
  const fresh = differences.filter((one) => mended.includes(one) || !known.has(canonicalJson(one)));
  if (isNew || mended.length > 0)
    await context.commit(async (trx) => {
      await save(trx);
      await tell(deps, trx, loaded, fresh, differences.length === 0);
    });
  const { scaled } = found;
  return {
    waits: found.turning || mended.length > 0,
    replicas: scaled !== undefined && (isReported || scaled.others) ? scaled.replicas : undefined,
    told: !isReported && differences.length > 0,
  };
}

/** `fresh`: what was not told yet. */
async function tell(
  deps: ComponentLoopDeps,
  trx: Trx,
  { component, stack }: Loaded,
  fresh: readonly Difference[],
  isOver: boolean,
): Promise<void> {
  const scope = { name: stack.name, teamId: stack.team_id };
  if (isOver && stack.drift === "report") await stackEvent(trx, scope, { code: "component_as_wanted", component: component.name });
  if (fresh.length === 0) return;
  const params = { what: fresh.map(textOf).join("; "), by: [...new Set(fresh.map(({ by }) => by ?? "somebody"))].join(", ") };
  if (stack.drift === "report") {
    await stackEvent(trx, scope, { code: "component_drifted", component: component.name, params });
    return;
  }
  deps.countRepair(stack.name, component.name, "changes");
  await stackEvent(trx, scope, { code: "component_taken_back", component: component.name, params });
  await appendAudit(trx, {
    principal: "berth",
    action: "components.repair",
    object: `component:${stack.name}/${component.name}`,
    params: { changes: fresh },
  });
}

/** `spec.replicas of Deployment web--a (4 instead of 2)`, as it is put into a sentence. */
const textOf = ({ object, path, wanted, found }: Difference): string =>
  `${path} of ${object} (${found === undefined ? "gone" : short(found)} instead of ${wanted === undefined ? "none" : short(wanted)})`;

const short = (text: string): string => (text.length > 120 ? `${text.slice(0, 117)}...` : text);
