// What a release would be in a cluster, for people to read. Pure.
import type { TrackTarget, Workload } from "../engine.ts";
import { budgetOf } from "./budgets.ts";
import { mark } from "./names.ts";
import { secretOf } from "./pod.ts";
import { secretObject } from "./secrets.ts";
import { deploymentOf, isEndless, jobName, jobOf, revisionFor } from "./slots.ts";
import { levelFor, namespaceObject, networkPolicyOf, type Doors } from "./surroundings.ts";
import { claimOf } from "./volumes.ts";

/** The objects as they are applied; where the values of secrets stand, their names do. */
export function renderedOf(installation: string, workload: Workload, doors?: Doors): { readonly name: string; readonly body: unknown }[] {
  const target: TrackTarget = { ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1 };
  const secret = secretOf(installation, workload);
  const main = isEndless(target)
    ? deploymentOf(installation, target, "a")
    : jobOf(installation, target, jobName(workload.ref.component, revisionFor(target), ""));
  const { [mark.order]: _order, ...annotations } = main.metadata.annotations ?? {};
  const shown = [
    namespaceObject(installation, workload, levelFor(workload.securityProfile)),
    networkPolicyOf(installation, workload.ref.stack, doors),
    { ...main, metadata: { ...main.metadata, annotations } },
    // From two instances on.
    ...(isEndless(target) ? [budgetOf(installation, workload.ref)] : []),
    ...(secret === undefined
      ? []
      : [
          {
            ...secretObject(installation, workload, secret.name),
            data: Object.fromEntries(Object.keys(secret.data).map((name) => [name, "(secret)"])),
          },
        ]),
    ...workload.volumes.map(({ volume }) => claimOf(installation, workload, volume)),
  ];
  return shown.map((body) => ({ name: `${body.kind} ${body.metadata.name}`, body }));
}
