// HTTP face of config and secrets.
import type { configRoutes } from "@berth/contract/resources/config.ts";
import type { HandlersOf } from "../call.ts";
import type { ConfigService } from "./service.ts";

export function configHandlers(config: ConfigService): HandlersOf<typeof configRoutes> {
  return {
    showStackConfig: ({ params }, call) => config.show(call, params.stack),
    updateStackConfig: ({ params, body }, call) => config.update(call, params.stack, undefined, body),
    showConfig: ({ params }, call) => config.show(call, params.stack, params.component),
    updateConfig: ({ params, body }, call) => config.update(call, params.stack, params.component, body),
    listSecrets: ({ params, query }, call) => config.listSecrets(call, params.stack, query),
    setSecret: ({ params, body }, call) => config.setSecret(call, params.stack, params.secret, body.value),
    deleteSecret: async ({ params }, call) => {
      await config.deleteSecret(call, params.stack, params.secret);
      return {};
    },
  };
}
