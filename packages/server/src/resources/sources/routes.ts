// HTTP face of sources, git credentials and known hosts.
import type { sourceRoutes } from "@berth/contract/resources/sources.ts";
import type { HandlersOf } from "../call.ts";
import type { SourceService } from "./service.ts";

export function sourceHandlers(sources: SourceService): HandlersOf<typeof sourceRoutes> {
  return {
    uploadSource: ({ params, query, body }, call) => sources.upload(call, params.stack, body, query),
    fetchSource: ({ params, body }, call) => sources.fetch(call, params.stack, body),
    listSources: ({ params, query }, call) => sources.list(call, params.stack, query),
    listCredentials: ({ params, query }, call) => sources.listCredentials(call, params.stack, query),
    setCredential: async ({ params, body }, call) => {
      await sources.setCredential(call, params.stack, params.credential, body);
      return {};
    },
    deleteCredential: async ({ params }, call) => {
      await sources.deleteCredential(call, params.stack, params.credential);
      return {};
    },
    listKnownHosts: ({ query }) => sources.knownHosts(query),
    addKnownHost: async ({ body }, call) => {
      await sources.addKnownHost(call, body.line);
      return {};
    },
  };
}
