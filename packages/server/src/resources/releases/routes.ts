// HTTP face of releases.
import type { releaseRoutes } from "@berth/contract/resources/releases.ts";
import type { HandlersOf } from "../call.ts";
import type { ReleaseService } from "./service.ts";

export function releaseHandlers(releases: ReleaseService): HandlersOf<typeof releaseRoutes> {
  return {
    listReleases: ({ params, query }, call) => releases.list(call, params.stack, params.component, query),
    showRelease: ({ params }, call) => releases.show(call, params.stack, params.component, params.release),
    diffReleases: ({ params, query }, call) => releases.diff(call, params.stack, params.component, params.release, query.to),
  };
}
