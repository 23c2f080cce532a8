// HTTP face of registries.
import type { registryRoutes } from "@berth/contract/resources/registries.ts";
import type { HandlersOf } from "../call.ts";
import type { RegistryService } from "./service.ts";

export function registryHandlers(registries: RegistryService): HandlersOf<typeof registryRoutes> {
  return {
    listRegistries: ({ query }) => registries.list(query),
    setRegistry: ({ params, body }, call) => registries.set(call, params.registry, body),
    deleteRegistry: async ({ params }, call) => {
      await registries.remove(call, params.registry);
      return {};
    },
  };
}
