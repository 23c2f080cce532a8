// HTTP face of builds.
import type { buildRoutes } from "@berth/contract/resources/builds.ts";
import type { HandlersOf } from "../call.ts";
import type { BuildService } from "./service.ts";

export function buildHandlers(builds: BuildService): HandlersOf<typeof buildRoutes> {
  return {
    listBuilds: ({ params, query }, call) => builds.list(call, params.stack, query),
    showBuild: ({ params }, call) => builds.show(call, params.stack, params.build),
    cancelBuild: ({ params }, call) => builds.cancel(call, params.stack, params.build),
    retryBuild: ({ params }, call) => builds.retry(call, params.stack, params.build),
    readBuildSbom: ({ params }, call) => builds.attestation(call, params.stack, params.build, "sbom"),
    readBuildProvenance: ({ params }, call) => builds.attestation(call, params.stack, params.build, "provenance"),
    readBuildLogs: ({ params, query }, call) => builds.logs(call, params.stack, params.build, query.follow ?? false),
  };
}
