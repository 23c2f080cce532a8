// Running a build again inside the caller's transaction: the same inputs under a new number.
import { BerthError } from "../../core/errors.ts";
import type { Db } from "../../db/pool.ts";
import { enqueue } from "../../reconcile/queue.ts";
import type { Call } from "../call.ts";
import { stackEvent } from "../intent.ts";
import type { StackHandle } from "../stacks/service.ts";
import { nextNumber } from "../stacks/store.ts";
import * as store from "./store.ts";

/** Queues a build with its event and wakes the scheduler; answers its id and number. */
export async function queueBuild(
  trx: Db,
  call: Call,
  stack: StackHandle,
  build: Omit<store.NewBuild, "stackId" | "clusterId" | "number" | "by">,
): Promise<{ id: string; number: number }> {
  const number = await nextNumber(trx, stack.id, "last_build");
  const id = await store.insertBuild(trx, { ...build, stackId: stack.id, clusterId: stack.clusterId, number, by: call.by });
  await stackEvent(trx, stack, {
    code: "build_queued",
    params: { build: number, context: build.context },
    topics: [`build:${stack.name}/${number}`],
  });
  await enqueue(trx, { kind: "build-schedule", key: stack.cluster, cluster: stack.cluster });
  return { id, number };
}

/** The build itself while it has not ended badly and its artifact was not removed, else a new one with the same inputs. */
export async function retryBuildIn(trx: Db, call: Call, stack: StackHandle, buildId: string): Promise<string> {
  const build = await store.findBuildById(trx, buildId, { lock: true });
  if (build === undefined)
    throw new BerthError("wrong_state", { verb: "Retrying", reason: "the build is no longer kept", hint: "Deploy again." });
  const isGone = build.phase === "succeeded" && build.artifact_digest === null;
  if (build.phase !== "failed" && build.phase !== "cancelled" && !isGone) return build.id;
  const again = await queueBuild(trx, call, stack, {
    sourceId: build.source_id,
    sourceDigest: build.source_digest,
    context: build.context,
    buildKey: build.build_key,
    options: build.options,
  });
  return again.id;
}
