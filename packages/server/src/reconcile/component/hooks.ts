// Release and postdeploy commands, as Heroku runs them: the first before anything of a release is started, and its failure fails the rollout; the second
// once in a stack's life, after its first release. Each runs as a task, is started once at most, and is shared by all rollouts of the same artifact.
import { cause, renderCause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import { releaseRunner } from "../../core/rollout/hooks.ts";
import type { Db } from "../../db/pool.ts";
import { findBuildById } from "../../resources/builds/store.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import * as rollouts from "../../resources/rollouts/store.ts";
import { beginHook, findHook, rolloutsOfVersion, type HookKey, type VersionRollout } from "../../resources/tasks/hooks.ts";
import * as tasks from "../../resources/tasks/store.ts";
import { enqueue } from "../queue.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";

/** What became of the command: still to be awaited, done, or failed with a cause. */
export type HookEnd = "waiting" | "done" | Cause;

/** lines of output that go into a cause. */
const evidenceLines = 15;

/** The command that has to succeed before this release goes live; none when the release serves already. */
export function releaseCommand(
  release: Pick<ReleaseRow, "id" | "runtime">,
  rollout: Pick<rollouts.RolloutRow, "from_release_id">,
): Command | undefined {
  return release.id === rollout.from_release_id ? undefined : release.runtime.hooks?.release;
}

function releaseKey(loaded: Loaded, rollout: rollouts.RolloutRow, release: ReleaseRow): HookKey {
  return { stackId: loaded.stack.id, versionId: rollout.version_id, key: `release/${release.artifact_digest}` };
}

/** Starts the command when it is this rollout's to start, or looks how it went. */
export async function stepReleaseCommand(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  rollout: rollouts.RolloutRow,
  release: ReleaseRow,
  context: PassContext,
): Promise<HookEnd> {
  const command = releaseCommand(release, rollout);
  if (command === undefined) return "done";
  const key = releaseKey(loaded, rollout, release);
  const hook = await findHook(deps.db, key);
  if (hook === undefined) {
    if (await isRunner(deps.db, rollout, release))
      await context.commit((trx) =>
        beginHook(trx, { ...key, ...placeOf(loaded), releaseId: release.id, trigger: "release", command, by: rollout.created_by }),
      );
    return "waiting";
  }
  const task = hook.task_id === null ? undefined : await tasks.findTaskById(deps.db, hook.task_id);
  if (task === undefined) return cause("run_lost", { reason: "its record is gone" });
  switch (task.phase) {
    case "queued":
    case "running":
      if (rollout.step?.params["task"] !== task.number)
        await context.commit((trx) =>
          rollouts.updateRollout(trx, rollout.id, { step: { code: "release_command", params: { task: task.number } } }),
        );
      return "waiting";
    case "succeeded":
      return "done";
    case "failed":
    case "cancelled":
    case "missed":
      return failureOf(deps, loaded, task, context);
    default:
      return task.phase satisfies never;
  }
}

async function isRunner(db: Db, rollout: rollouts.RolloutRow, release: ReleaseRow): Promise<boolean> {
  if (rollout.version_id === null) return true;
  const all = await rolloutsOfVersion(db, rollout.version_id, release.artifact_digest);
  return runnerAmong(all, (one) => one.open) === rollout.id;
}

function runnerAmong(all: readonly VersionRollout[], counts: (rollout: VersionRollout) => boolean): string | undefined {
  return releaseRunner(
    all.filter((one) => one.sameArtifact && counts(one)),
    new Map(all.filter((one) => one.open).map((one) => [one.id, one.waitsFor])),
  );
}

/** An abort ends the command that this component runs; one that another component runs is not its own to end. */
export async function cancelReleaseCommand(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  rollout: rollouts.RolloutRow,
  context: PassContext,
  by: string,
): Promise<void> {
  const hook = loaded.next === undefined ? undefined : await findHook(deps.db, releaseKey(loaded, rollout, loaded.next));
  const task = hook?.task_id == null ? undefined : await tasks.findTaskById(deps.db, hook.task_id);
  if (task === undefined || task.component_id !== loaded.component.id) return;
  await context.commit(async (trx) => {
    if (await tasks.updateTask(trx, task.id, { cancelRequestedBy: by }))
      await enqueue(trx, { kind: "task", key: task.id, cluster: loaded.stack.cluster });
  });
}

/** In the transaction in which a rollout succeeds: the command that follows the first release of this artifact's source, for the same component that ran its release command. */
export async function beginPostdeploy(trx: Db, loaded: Loaded, rollout: rollouts.RolloutRow, release: ReleaseRow): Promise<void> {
  const command = release.runtime.hooks?.postdeploy;
  if (command === undefined || rollout.from_release_id !== null) return;
  if (
    rollout.version_id !== null &&
    runnerAmong(await rolloutsOfVersion(trx, rollout.version_id, release.artifact_digest), () => true) !== rollout.id
  )
    return;
  const build = release.build_id === null ? undefined : await findBuildById(trx, release.build_id);
  await beginHook(trx, {
    stackId: loaded.stack.id,
    versionId: null,
    key: `postdeploy/${build?.context ?? "."}`,
    ...placeOf(loaded),
    releaseId: release.id,
    trigger: "postdeploy",
    command,
    by: rollout.created_by,
  });
}

function placeOf({ stack, component }: Loaded) {
  return {
    stack: { name: stack.name, teamId: stack.team_id, cluster: stack.cluster },
    component: { id: component.id, name: component.name },
    clusterId: stack.cluster_id,
  };
}

async function failureOf(deps: ComponentLoopDeps, loaded: Loaded, task: tasks.TaskRow, context: PassContext): Promise<Cause> {
  const how =
    task.phase === "cancelled"
      ? `was cancelled by ${task.cancel_requested_by ?? "somebody"}`
      : task.exit_code !== null
        ? `ended with exit code ${task.exit_code}`
        : task.signal !== null
          ? `was ended by ${task.signal}`
          : "failed";
  const evidence: Evidence[] = task.cause === null ? [] : [{ kind: "event", text: renderCause(task.cause).sentence.slice(0, 4096) }];
  for await (const line of deps.places
    .engine(loaded.stack.cluster)
    .taskLogs(task.id, { tail: evidenceLines, follow: false }, context.signal))
    evidence.push({ kind: "log", at: line.at, text: line.text.slice(0, 4096) });
  return cause("release_command_failed", { component: loaded.component.name, how, task: task.number }, evidence);
}
