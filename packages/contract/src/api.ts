// The one route table: server, OpenAPI and client are made from it.
import { adoptionRoutes } from "./resources/adoption.ts";
import { buildRoutes } from "./resources/builds.ts";
import { certificateRoutes } from "./resources/certificates.ts";
import { clusterRoutes } from "./resources/clusters.ts";
import { componentRoutes } from "./resources/components.ts";
import { configRoutes } from "./resources/config.ts";
import { driftRoutes } from "./resources/drift.ts";
import { eventRoutes } from "./resources/events.ts";
import { importRoutes } from "./resources/imports.ts";
import { installationRoutes } from "./resources/installation.ts";
import { planRoutes } from "./resources/plans.ts";
import { registryRoutes } from "./resources/registries.ts";
import { releaseRoutes } from "./resources/releases.ts";
import { rolloutRoutes } from "./resources/rollouts.ts";
import { sourceRoutes } from "./resources/sources.ts";
import { stackRoutes } from "./resources/stacks.ts";
import { taskRoutes } from "./resources/tasks.ts";
import { tokenRoutes } from "./resources/tokens.ts";
import { volumeRoutes } from "./resources/volumes.ts";
import { webhookRoutes } from "./resources/webhooks.ts";

export const apiPrefix = "/api/v1";
export const routes = {
  ...installationRoutes,
  ...tokenRoutes,
  ...stackRoutes,
  ...driftRoutes,
  ...planRoutes,
  ...sourceRoutes,
  ...componentRoutes,
  ...configRoutes,
  ...buildRoutes,
  ...releaseRoutes,
  ...rolloutRoutes,
  ...taskRoutes,
  ...volumeRoutes,
  ...eventRoutes,
  ...clusterRoutes,
  ...certificateRoutes,
  ...registryRoutes,
  ...webhookRoutes,
  ...adoptionRoutes,
  ...importRoutes,
};
export type Routes = typeof routes;
export type RouteName = keyof Routes;
