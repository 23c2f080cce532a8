// What a service's tasks tell about the instance that it is: the same facts as of a container. Pure.
import { constraint, type ServiceSpec } from "../../../engines/docker/service.ts";
import type { Inspected } from "../daemon.ts";

export interface Service {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly CreatedAt: string;
  readonly Spec: ServiceSpec;
}

export interface SwarmTask {
  readonly ID: string;
  readonly ServiceID?: string;
  readonly NodeID?: string;
  readonly CreatedAt: string;
  readonly DesiredState: string;
  readonly Spec: { readonly ContainerSpec?: { readonly Labels?: Readonly<Record<string, string>> | null } | null };
  readonly Status: {
    readonly Timestamp: string;
    readonly State: string;
    readonly Err?: string;
    readonly ContainerStatus?: { readonly ContainerID?: string; readonly PID?: number; readonly ExitCode?: number } | null;
  };
  readonly NetworksAttachments?: readonly { readonly Addresses?: readonly string[] | null }[] | null;
}

/** https://docs.docker.com/engine/swarm/how-swarm-mode-works/swarm-task-states/ */
const ended = new Set(["complete", "shutdown", "failed", "rejected", "remove", "orphaned"]);
export const hasEnded = (task: SwarmTask): boolean => ended.has(task.Status.State);

/** Newest first. */
export const newestFirst = (tasks: readonly SwarmTask[]): SwarmTask[] =>
  [...tasks].sort((a, b) => Date.parse(b.CreatedAt) - Date.parse(a.CreatedAt) || (a.CreatedAt < b.CreatedAt ? 1 : -1));

/** Whether its program ran, or runs. */
function hasRun({ Status }: SwarmTask): boolean {
  if (Status.State === "running" || Status.State === "complete") return true;
  return (
    ended.has(Status.State) &&
    Status.State !== "rejected" &&
    (Status.ContainerStatus?.ContainerID ?? "") !== "" &&
    !/^(starting|creating) container failed/.test(Status.Err ?? "")
  );
}

export const lastRun = (tasks: readonly SwarmTask[]): SwarmTask | undefined => newestFirst(tasks).find(hasRun);

/** The task whose program runs now; one that is to end, because its node is drained for instance, too. */
export const runningTask = (tasks: readonly SwarmTask[]): SwarmTask | undefined =>
  newestFirst(tasks).find((one) => one.Status.State === "running");

/** Where the newest task that is not over is reached; known before its program runs. */
export function addressOf(tasks: readonly SwarmTask[]): string | undefined {
  const task = newestFirst(tasks).find((one) => !hasEnded(one) && one.DesiredState === "running") ?? runningTask(tasks);
  return task?.NetworksAttachments?.[0]?.Addresses?.[0]?.split("/")[0];
}

/** Says when anything of a service's tasks has changed. */
export const signatureOf = (tasks: readonly SwarmTask[]): string =>
  newestFirst(tasks)
    .map((one) => `${one.ID} ${one.DesiredState} ${one.Status.State} ${one.Status.Err ?? ""}`)
    .join("\n");

export function isStopped({ Spec }: Service): boolean {
  return Spec.Mode.Replicated.Replicas === 0 || (Spec.TaskTemplate.Placement?.Constraints ?? []).includes(constraint.nowhere);
}

const never = "0001-01-01T00:00:00Z";

export function inspectedOf(service: Service, all: readonly SwarmTask[]): Inspected {
  const tasks = newestFirst(all);
  const stopped = isStopped(service);
  const [newest] = tasks;
  // Of several that run (a node that is away may come back with one), the newest is the instance.
  const run = tasks.find(hasRun);
  const running = run?.Status.State === "running";
  const isComing = !stopped && (newest === undefined || (newest !== run && !hasEnded(newest)));
  const refused = newest !== undefined && newest !== run && !stopped ? (newest.Status.Err ?? lastErrorBefore(tasks, run)) : undefined;
  return {
    Id: service.ID,
    Name: service.Spec.Name,
    RestartCount: 0,
    Config: { Labels: service.Spec.Labels, Env: service.Spec.TaskTemplate.ContainerSpec.Env ?? [] },
    State: {
      Status: run === undefined ? "created" : running ? "running" : "exited",
      Running: running,
      Restarting: !running && isComing,
      OOMKilled: false,
      ExitCode: Math.max(0, run?.Status.ContainerStatus?.ExitCode ?? 0),
      Error: run?.Status.Err ?? "",
      StartedAt: run?.CreatedAt ?? never,
      FinishedAt: run === undefined || running ? never : run.Status.Timestamp,
      Pid: 0,
    },
    ...(running && run.DesiredState !== "running" && !stopped ? { leaving: true } : {}),
    ...(refused === undefined || refused === "" ? {} : { refused }),
  };
}

/** Why the tasks since the last run did not get to run. */
function lastErrorBefore(tasks: readonly SwarmTask[], run: SwarmTask | undefined): string | undefined {
  const since = run === undefined ? tasks : tasks.slice(0, tasks.indexOf(run));
  return since.find((one) => (one.Status.Err ?? "") !== "")?.Status.Err;
}
