// Joins the resources' handlers into the one object that the HTTP server serves. The types demand that no route is forgotten.
import type { EventReader } from "../db/events.ts";
import { adoptionHandlers } from "./adoption/routes.ts";
import { createAdoptionService } from "./adoption/service.ts";
import { importHandlers } from "./imports/routes.ts";
import { createImportService } from "./imports/service.ts";
import { createBuildService } from "./builds/service.ts";
import { buildHandlers } from "./builds/routes.ts";
import type { BuildLogs } from "./builds/log.ts";
import type { Handlers } from "./call.ts";
import { certificateHandlers } from "./certificates/routes.ts";
import { createCertificateService } from "./certificates/service.ts";
import { withClusterNames } from "./clusters/naming.ts";
import { clusterHandlers } from "./clusters/routes.ts";
import { createClusterService } from "./clusters/service.ts";
import { componentHandlers } from "./components/routes.ts";
import { createRuntimeService } from "./components/runtime.ts";
import { createPlaceService } from "./components/place.ts";
import { createComponentService } from "./components/service.ts";
import { configHandlers } from "./config/routes.ts";
import { createConfigService } from "./config/service.ts";
import { eventHandlers } from "./events/routes.ts";
import { createEventService } from "./events/service.ts";
import { installationHandlers, type InstallationFacts } from "./installation/routes.ts";
import { createDeployService } from "./plans/deploy.ts";
import { createExportService } from "./plans/export.ts";
import { createManifestService } from "./plans/manifests.ts";
import { planHandlers } from "./plans/routes.ts";
import { createPlanService, type PlanDeps } from "./plans/service.ts";
import { registryHandlers } from "./registries/routes.ts";
import { createRegistryService } from "./registries/service.ts";
import { releaseHandlers } from "./releases/routes.ts";
import { createReleaseService } from "./releases/service.ts";
import { rolloutHandlers } from "./rollouts/routes.ts";
import { createRolloutService } from "./rollouts/service.ts";
import { sourceHandlers } from "./sources/routes.ts";
import { createSourceService, type SourceDeps } from "./sources/service.ts";
import { createQuotaService } from "./stacks/quota.ts";
import { createDriftService } from "./plans/drift.ts";
import { driftHandlers, stackHandlers } from "./stacks/routes.ts";
import { createStackService } from "./stacks/service.ts";
import { taskHandlers } from "./tasks/routes.ts";
import { createTaskService } from "./tasks/service.ts";
import { tokenHandlers } from "./tokens/routes.ts";
import { createTokenService } from "./tokens/service.ts";
import { volumeHandlers } from "./volumes/routes.ts";
import { createVolumeService } from "./volumes/service.ts";
import { webhookHandlers } from "./webhooks/routes.ts";
import { createWebhookService } from "./webhooks/service.ts";

export type HandlerDeps = PlanDeps & SourceDeps & { readonly buildLogs: BuildLogs; readonly events: EventReader };

export function createHandlers(deps: HandlerDeps, facts: InstallationFacts): Handlers {
  const stacks = createStackService(deps);
  const adoption = createAdoptionService(deps);
  const certificates = createCertificateService(deps);
  const components = createComponentService(deps, stacks, certificates);
  const tokens = createTokenService(deps);
  const handlers: Handlers = {
    ...installationHandlers(deps, facts, tokens),
    ...tokenHandlers(tokens),
    ...driftHandlers(createDriftService(deps, stacks, components)),
    ...stackHandlers(
      stacks,
      createQuotaService(deps, stacks),
      createExportService(deps, stacks),
      createManifestService(deps, stacks, components),
    ),
    ...planHandlers(createPlanService(deps, stacks)),
    ...sourceHandlers(createSourceService(deps, stacks)),
    ...componentHandlers(
      components,
      createRuntimeService(deps, stacks, components),
      createDeployService(deps, components),
      createPlaceService(deps, stacks, components),
    ),
    ...configHandlers(createConfigService(deps, stacks, components)),
    ...buildHandlers(createBuildService(deps, stacks)),
    ...releaseHandlers(createReleaseService(deps, stacks, components)),
    ...rolloutHandlers(createRolloutService(deps, stacks, components)),
    ...taskHandlers(createTaskService(deps, stacks, components)),
    ...volumeHandlers(createVolumeService(deps, stacks)),
    ...eventHandlers(createEventService(deps, stacks)),
    ...clusterHandlers(createClusterService(deps)),
    ...certificateHandlers(certificates),
    ...registryHandlers(createRegistryService(deps)),
    ...webhookHandlers(createWebhookService(deps)),
    ...adoptionHandlers(adoption),
    ...importHandlers(createImportService(deps, adoption)),
  };
  return withClusterNames(handlers, deps);
}
