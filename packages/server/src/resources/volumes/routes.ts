// HTTP face of volumes.
import type { volumeRoutes } from "@berth/contract/resources/volumes.ts";
import type { HandlersOf } from "../call.ts";
import type { VolumeService } from "./service.ts";

export function volumeHandlers(volumes: VolumeService): HandlersOf<typeof volumeRoutes> {
  return {
    listAllVolumes: ({ query }, call) => volumes.listAll(call, query),
    listVolumes: ({ params, query }, call) => volumes.list(call, params.stack, query),
    snapshotVolume: ({ params }, call) => volumes.snapshot(call, params.stack, params.volume),
    restoreVolume: ({ params, body }, call) => volumes.restore(call, params.stack, params.volume, body),
    deleteVolume: async ({ params }, call) => {
      await volumes.remove(call, params.stack, params.volume);
      return {};
    },
  };
}
