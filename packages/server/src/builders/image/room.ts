// A builder that says so when a build fails because the daemon's disk is full, whichever part of it met that first: the context, a step, the layers, the load.
import type { Cause } from "@berth/contract/causes.ts";
import type { DockerApi } from "../../docker/api.ts";
import { diskFullCause, isDiskFull, roomOf, saysDiskFull } from "../../docker/room.ts";
import type { Builder } from "../builder.ts";

/** Causes: those of the builder, and `host_disk_full` in place of what the daemon failed of. What a step prints about its disk stays the step's own, with what is free. */
export function tellingRoom(builder: Builder, api: DockerApi): Builder {
  async function explained(why: Cause): Promise<Cause> {
    if (why.code === "disk_full") return { ...why, evidence: [...why.evidence.slice(-49), { kind: "event", text: await roomOf(api) }] };
    const reason = String(why.params["reason"] ?? "");
    if (!saysDiskFull(reason)) return why;
    const { evidence } = why;
    return { ...(await diskFullCause(api, `the build's \`${String(why.params["instruction"] ?? "image")}\``, reason)), evidence };
  }
  return {
    ...builder,
    build: async (request, onEvent, signal) => {
      try {
        const outcome = await builder.build(request, onEvent, signal);
        return outcome.ok ? outcome : { ok: false, cause: await explained(outcome.cause) };
      } catch (error) {
        signal.throwIfAborted();
        if (!isDiskFull(error)) throw error;
        return { ok: false, cause: await diskFullCause(api, "the build", error.message) };
      }
    },
  };
}
