// HTTP face of imports.
import type { importRoutes } from "@berth/contract/resources/imports.ts";
import type { HandlersOf } from "../call.ts";
import type { ImportService } from "./service.ts";

export function importHandlers(imports: ImportService): HandlersOf<typeof importRoutes> {
  return { importNamespace: ({ body }, call) => imports.importNamespace(call, body) };
}
