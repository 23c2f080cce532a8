// What a release would be in a cluster, for people to read. Pure.
import type { TrackTarget, Workload } from "../engine.ts";
import { mark } from "./names.ts";
import { secretOf } from "./pod.ts";
import { secretObject } from "./secrets.ts";
import { deploymentOf, isEndless, jobName, jobOf, revisionFor } from "./slots.ts";
import { claimOf } from "./volumes.ts";

/** The objects as they are applied; where the values of secrets stand, their names do. */
export function renderedOf(installation: string, workload: Workload): { readonly name: string; readonly body: unknown }[] {
  const target: TrackTarget = { ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1 };
  const secret = secretOf(installation, workload);
  const main = isEndless(target)
    ? deploymentOf(installation, target, "a")
    : jobOf(installation, target, jobName(workload.ref.component, revisionFor(target), ""));
  const { [mark.order]: _order, ...annotations } = main.metadata.annotations ?? {};
  const shown = [
    { ...main, metadata: { ...main.metadata, annotations } },
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
