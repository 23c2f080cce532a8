// HTTP face of events and audit.
import type { eventRoutes } from "@berth/contract/resources/events.ts";
import type { HandlersOf } from "../call.ts";
import type { EventService } from "./service.ts";

export function eventHandlers(events: EventService): HandlersOf<typeof eventRoutes> {
  return {
    listEvents: ({ query }, call) => events.list(call, query),
    watch: ({ query }, call) => events.watch(call, query),
    listAudit: ({ query }) => events.audit(query),
  };
}
