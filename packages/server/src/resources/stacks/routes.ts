// HTTP face of stacks: arguments in, service call, answer out.
import type { stackRoutes } from "@berth/contract/resources/stacks.ts";
import type { driftRoutes } from "@berth/contract/resources/drift.ts";
import type { HandlersOf } from "../call.ts";
import type { ExportService } from "../plans/export.ts";
import type { ManifestService } from "../plans/manifests.ts";
import type { QuotaService } from "./quota.ts";
import type { DriftService } from "../plans/drift.ts";
import type { StackService } from "./service.ts";

export function stackHandlers(
  stacks: StackService,
  quotas: QuotaService,
  exporter: ExportService,
  manifests: ManifestService,
): HandlersOf<typeof stackRoutes> {
  return {
    listStacks: ({ query }, call) => stacks.list(call, query),
    createStack: ({ body }, call) => stacks.create(call, body),
    showStack: ({ params }, call) => stacks.show(call, params.stack),
    updateStack: ({ params, body }, call) => stacks.update(call, params.stack, body),
    deleteStack: async ({ params, query }, call) => {
      await stacks.remove(call, params.stack, { volumes: query.volumes ?? false });
      return {};
    },
    showQuota: ({ params }, call) => quotas.show(call, params.stack),
    setQuota: ({ params, body }, call) => quotas.set(call, params.stack, body),
    listStackVersions: ({ params, query }, call) => stacks.versions(call, params.stack, query),
    showManifests: ({ params, query }, call) => manifests.show(call, params.stack, query.component, query.cluster),
    exportStack: async ({ params }, call) => ({ compose: await exporter.compose(call, params.stack) }),
  };
}

export function driftHandlers(drift: DriftService): HandlersOf<typeof driftRoutes> {
  return { showDrift: ({ params, query }, call) => drift.show(call, params.stack, query.component) };
}
