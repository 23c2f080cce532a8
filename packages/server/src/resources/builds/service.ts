// Builds: showing, cancelling, running again, and their logs.
import { json } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import type { Build } from "@berth/contract/resources/builds.ts";
import { buildVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { transaction } from "../../db/transaction.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { sent, type Sent } from "../../core/sent.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, stackEvent, wakeComponent } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import { waitingForBuild } from "../rollouts/store.ts";
import type { MayHere, StackHandle, StackService } from "../stacks/service.ts";
import type { BuildLogs, FollowedLine } from "./log.ts";
import { queueBuild } from "./retry.ts";
import * as store from "./store.ts";

/** ms that whoever asks for what is being attested waits for it. */
const attestPatience = 15_000;

export type BuildService = ReturnType<typeof createBuildService>;

export function createBuildService(deps: ResourceDeps & { readonly buildLogs: BuildLogs }, stacks: StackService) {
  async function find(stack: StackHandle, number: number): Promise<store.BuildListRow> {
    const [row] = await store.listBuilds(deps.db, { stackId: stack.id, number, page: slice(store.buildList, { limit: 1 }) });
    if (row === undefined) throw new BerthError("not_found", { kind: "build", name: number, hint: "`berth builds list` shows them." });
    return row;
  }

  async function show(call: Call, stackName: string, number: number): Promise<Build> {
    const stack = await stacks.find(call, stackName);
    return present(stack, await find(stack, number), await stacks.permissionsIn(call, stack));
  }

  return {
    show,

    async list(call: Call, stackName: string, query: ListRequest & { phase?: Build["phase"] }): Promise<Page<Build>> {
      const stack = await stacks.find(call, stackName);
      const page = slice(store.buildList, query);
      const rows = await store.listBuilds(deps.db, { stackId: stack.id, phase: query.phase, page });
      const may = await stacks.permissionsIn(call, stack);
      return toPage(rows, page, (row) => present(stack, row, may));
    },

    /** A queued build ends at once; a running one when its worker has ended every process of it. */
    async cancel(call: Call, stackName: string, number: number): Promise<Build> {
      await transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, stackName, "releases.deploy", { trx, whileDeleting: true });
        const row = await find(stack, number);
        if (row.phase !== "queued" && row.phase !== "running")
          throw new BerthError("wrong_state", {
            verb: "Cancelling",
            reason: `the build ${row.phase} already`,
            hint: "`berth builds show` has its outcome.",
          });
        const queued = row.phase === "queued";
        await store.updateBuild(trx, row.id, {
          cancelRequestedBy: call.by,
          ...(queued
            ? {
                phase: "cancelled" as const,
                endedAt: deps.clock(),
                cause: { code: "build_cancelled", params: { by: call.by }, evidence: [] },
              }
            : {}),
        });
        if (queued) {
          await stackEvent(trx, stack, {
            code: "build_cancelled",
            params: { build: number, context: row.context, by: call.by },
            topics: [`build:${stackName}/${number}`],
          });
          for (const waiting of await waitingForBuild(trx, row.id)) await wakeComponent(trx, waiting.component_id, waiting.cluster);
        } else {
          await enqueue(trx, { kind: "build", key: row.id, cluster: stack.cluster });
        }
        await audit(trx, call, "builds.cancel", `build:${stackName}/${number}`);
      });
      return show(call, stackName, number);
    },

    async retry(call: Call, stackName: string, number: number): Promise<Build> {
      const again = await transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, stackName, "releases.deploy", { trx, lock: true });
        const row = await find(stack, number);
        if (row.phase !== "failed" && row.phase !== "cancelled")
          throw new BerthError("wrong_state", {
            verb: "Retrying",
            reason: row.phase === "succeeded" ? "the build succeeded" : "the build has not ended",
            hint: "`berth builds show` has its state.",
          });
        await audit(trx, call, "builds.retry", `build:${stackName}/${number}`);
        return queueBuild(trx, call, stack, {
          sourceId: row.source_id,
          sourceDigest: row.source_digest,
          context: row.context,
          buildKey: row.build_key,
          options: row.options,
        });
      });
      return show(call, stackName, again.number);
    },

    /** What was kept with the build; `not_found` when nobody attested it. */
    async attestation(call: Call, stackName: string, number: number, which: "sbom" | "provenance"): Promise<Record<string, unknown>> {
      const stack = await stacks.find(call, stackName);
      let row = await find(stack, number);
      // It is made at once after the build, within a second.
      for (
        const until = performance.now() + attestPatience;
        row.attesting !== null && performance.now() < until;
        row = await find(stack, number)
      )
        await delay(100, undefined, { signal: call.signal });
      const digest = which === "sbom" ? row.sbom_digest : row.provenance_digest;
      if (digest === null)
        throw new BerthError("not_found", {
          kind: which === "sbom" ? "bill of materials of build" : "provenance of build",
          name: number,
          hint:
            row.attesting !== null
              ? "It is being made: ask again in a moment."
              : row.phase === "succeeded"
                ? "It was built before Berth attested builds: `berth deploy` of a change makes one."
                : "Only a build that succeeded has one.",
        });
      return (await json(await deps.blobs.open(digest, call.signal))) as Record<string, unknown>;
    },

    async logs(call: Call, stackName: string, number: number, follow: boolean): Promise<AsyncIterable<Sent<FollowedLine>>> {
      const stack = await stacks.find(call, stackName);
      const row = await find(stack, number);
      const after = Number(call.lastEventId ?? 0);
      const ended = async (): Promise<boolean> => {
        const now = await store.findBuildById(deps.db, row.id);
        return now === undefined || (now.phase !== "queued" && now.phase !== "running");
      };
      return sent(
        deps.buildLogs.read(row.id, { digest: row.log_digest, after: Number.isSafeInteger(after) ? after : 0, follow, ended }, call.signal),
        (line) => ({ id: line.cursor, data: line }),
      );
    },
  };
}

function present(stack: StackHandle, row: store.BuildListRow, may: MayHere): Build {
  return {
    stack: stack.name,
    number: row.number,
    phase: row.phase,
    context: row.context,
    ...(row.options.root === undefined ? {} : { root: row.options.root }),
    source: row.source_digest,
    ...(row.revision === null ? {} : { revision: row.revision }),
    ...(row.message === null ? {} : { message: row.message }),
    ...(row.plan === null ? {} : { plan: row.plan, processes: Object.keys(row.plan.processes) }),
    ...(row.artifact_digest === null ? {} : { artifact: row.artifact_digest }),
    ...(row.sbom_digest === null || row.provenance_digest === null
      ? {}
      : { attestations: { sbom: row.sbom_digest, provenance: row.provenance_digest } }),
    ...(row.artifact_size === null ? {} : { artifactSize: row.artifact_size }),
    steps: row.steps,
    ...(row.cause === null ? {} : { cause: row.cause }),
    queuedAt: row.queued_at.toISOString(),
    ...(row.started_at === null ? {} : { startedAt: row.started_at.toISOString() }),
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at.toISOString() }),
    createdBy: row.created_by,
    allowed: buildVerbs(may, { phase: row.phase, deleting: stack.deleting }),
  };
}
