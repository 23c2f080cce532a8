// A stack written back as a Compose file.
import { writeCompose } from "../../core/compose/write.ts";
import type { Call } from "../call.ts";
import { allComponents } from "../components/store.ts";
import type { ResourceDeps } from "../deps.ts";
import type { StackService } from "../stacks/service.ts";
import { volumeNames } from "../volumes/store.ts";

export type ExportService = ReturnType<typeof createExportService>;

export function createExportService(deps: ResourceDeps, stacks: StackService) {
  return {
    async compose(call: Call, stackName: string): Promise<string> {
      const stack = await stacks.find(call, stackName);
      const rows = (await allComponents(deps.db, stack.id)).filter((row) => row.delete_requested_at === null);
      const volumes = await volumeNames(deps.db, stack.id);
      return writeCompose({
        name: stack.name,
        runEnv: stack.runEnv,
        // What a stack does that says nothing need not be said.
        ...(stack.drift === "repair" ? {} : { drift: stack.drift }),
        components: Object.fromEntries(rows.map((row) => [row.name, { ...row.spec, replicas: row.replicas }])),
        volumes: Object.fromEntries(volumes.map((name) => [name, { external: false }])),
        configs: {},
        secrets: {},
        notes: [],
      });
    },
  };
}
