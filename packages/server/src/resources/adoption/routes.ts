// HTTP face of adoption.
import type { adoptionRoutes } from "@berth/contract/resources/adoption.ts";
import type { HandlersOf } from "../call.ts";
import type { AdoptionService } from "./service.ts";

export function adoptionHandlers(adoption: AdoptionService): HandlersOf<typeof adoptionRoutes> {
  return { showAdoption: (_input, call) => adoption.show(call), adopt: ({ body }, call) => adoption.adopt(call, body.stacks) };
}
