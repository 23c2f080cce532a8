// What of a definition takes more than the right to define: the profile that reaches the machine, and overlays, which are looked at as a cluster would be given them.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { autoscaleProblem } from "../../core/autoscale.ts";
import { BerthError } from "../../core/errors.ts";
import { overlayTooLarge } from "../../core/overlay/overlay.ts";
import type { Engine, Workload } from "../../engines/engine.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import type { StackHandle } from "../stacks/service.ts";

export const grantPermission = "privileges.grant";

/** Whether who writes this definition in place of the one `before` needs `privileges.grant`. */
export const takesGrant = (spec: ComponentSpec, isChanged: boolean): boolean => isChanged && spec.securityProfile === "privileged";

/** Throws `forbidden`. The caller is known to see the stack. */
export async function requirePermissions(
  deps: Pick<ResourceDeps, "access">,
  call: Call,
  stack: Pick<StackHandle, "id" | "teamId">,
  permissions: readonly string[],
): Promise<void> {
  for (const permission of permissions)
    if (!(await deps.access.may(call.principal, permission, { team: stack.teamId, stack: stack.id })))
      throw new BerthError("forbidden", { action: permission, permission });
}

/**
 * Errors: `overlay_refused` for the first thing that the component's overlays may not have, with all of them in `details`. What depends on more than the definition, such as
 * variables that a stack's config sets, is found when the release is prepared, before anything runs.
 */
export function checkOverlays(
  engine: Pick<Engine, "overlayRefusals">,
  stack: { readonly id: string; readonly name: string },
  component: string,
  spec: ComponentSpec,
): void {
  if (spec.kubernetes === undefined) return;
  const large = overlayTooLarge(spec.kubernetes);
  if (large !== undefined)
    throw new BerthError("overlay_refused", { component, kind: "it", path: "as a whole", reason: large.reason, hint: large.way });
  const refusals = engine.overlayRefusals?.(workloadOfSpec(stack, component, spec)) ?? [];
  const [first] = refusals;
  if (first === undefined) return;
  const { kind, path, reason, way } = first;
  throw new BerthError("overlay_refused", { component, kind, path, reason, hint: way }, { details: refusals });
}

/** Errors: `autoscale_refused` for limits that cannot be kept, by this component or in this cluster. */
export function checkAutoscale(engine: Pick<Engine, "autoscale">, cluster: string, component: string, spec: ComponentSpec): void {
  if (spec.autoscale === undefined) return;
  const problem =
    autoscaleProblem(spec) ??
    (engine.autoscale === undefined
      ? {
          reason: `cluster ${cluster} has no autoscaler`,
          way: "Clusters of Kubernetes have one. Leave `autoscale` out and scale it by hand, or make the stack on one of those.",
        }
      : undefined);
  if (problem !== undefined) throw new BerthError("autoscale_refused", { component, reason: problem.reason, hint: problem.way });
}

/** As a release of it will be, as far as that is known before there is one. */
function workloadOfSpec(stack: { readonly id: string; readonly name: string }, component: string, spec: ComponentSpec): Workload {
  const secrets = Object.fromEntries(Object.keys(spec.secrets).map((name) => [name, ""]));
  return {
    ref: { stack: stack.name, component },
    stackId: stack.id,
    kind: spec.kind,
    releaseHash: "",
    releaseNumber: 1,
    artifact: { kind: "image", reference: spec.image ?? "built" },
    command: spec.command ?? { exec: [] },
    workdir: spec.workdir ?? ".",
    artifactEnv: {},
    env: { ...spec.env, ...secrets },
    secretValues: [],
    ports: spec.ports,
    volumes: spec.volumes,
    resources: spec.resources,
    probes: {},
    restart: spec.restart,
    gracePeriod: spec.gracePeriod,
    securityProfile: spec.securityProfile,
    tools: [],
    ...(spec.kubernetes === undefined ? {} : { kubernetes: spec.kubernetes }),
  };
}

/** For a plan: each component whose overlays mean nothing where it is to run. */
export function overlayNotes(
  engine: Pick<Engine, "overlayRefusals">,
  cluster: string,
  components: Readonly<Record<string, ComponentSpec>>,
): { readonly code: string; readonly params: Record<string, string> }[] {
  if (engine.overlayRefusals !== undefined) return [];
  return Object.entries(components)
    .filter(([, spec]) => spec.kubernetes !== undefined)
    .map(([component]) => ({ code: "overlay_unused", params: { component, cluster } }));
}
