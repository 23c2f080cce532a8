// HTTP face of components.
import type { componentRoutes } from "@berth/contract/resources/components.ts";
import type { HandlersOf } from "../call.ts";
import type { DeployService } from "../plans/deploy.ts";
import type { RuntimeService } from "./runtime.ts";
import type { PlaceService } from "./place.ts";
import type { ComponentService } from "./service.ts";

export function componentHandlers(
  components: ComponentService,
  runtime: RuntimeService,
  deploys: DeployService,
  places: PlaceService,
): HandlersOf<typeof componentRoutes> {
  return {
    listComponents: ({ params, query }, call) => components.list(call, params.stack, query),
    showComponent: ({ params }, call) => components.show(call, params.stack, params.component),
    setComponent: ({ params, body }, call) => components.set(call, params.stack, params.component, body),
    deleteComponent: async ({ params }, call) => {
      await components.remove(call, params.stack, params.component);
      return {};
    },
    deployComponent: ({ params, body }, call) => deploys.deploy(call, params.stack, params.component, body),
    rollbackComponent: ({ params, body }, call) => components.rollback(call, params.stack, params.component, body.release),
    scaleComponent: ({ params, body }, call) => components.scale(call, params.stack, params.component, body.replicas),
    autoscaleComponent: ({ params, body }, call) => components.autoscale(call, params.stack, params.component, body.autoscale),
    placeComponent: ({ params, body }, call) => places.place(call, params.stack, params.component, body.placement),
    restartComponent: ({ params }, call) => components.restart(call, params.stack, params.component),
    stopComponent: ({ params }, call) => components.stop(call, params.stack, params.component),
    startComponent: ({ params }, call) => components.start(call, params.stack, params.component),
    listInstances: ({ params, query }, call) => components.instances(call, params.stack, params.component, query),
    showUsage: ({ params }, call) => runtime.usage(call, params.stack),
    readLogs: ({ params, query }, call) => runtime.logs(call, params.stack, params.component, query),
    readStackLogs: ({ params, query }, call) => runtime.stackLogs(call, params.stack, query),
    openTerminal: ({ params, query }, call) => runtime.terminal(call, params.stack, params.component, query),
    openPort: ({ params, query }, call) => runtime.port(call, params.stack, params.component, query),
  };
}
