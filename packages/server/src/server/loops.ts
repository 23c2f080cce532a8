// The loops of this process: which kinds of due rows it works on, with how many hands and how much time.
import type { Db } from "../db/pool.ts";
import type { Listener } from "../db/listen.ts";
import type { Log } from "../db/log.ts";
import { reconcileBuilds, type BuildLoopDeps } from "../reconcile/build.ts";
import type { ComponentLoopDeps } from "../reconcile/component/deps.ts";
import { reconcileHost, type HostDeps } from "../reconcile/acme/host.ts";
import { reconcileHosts } from "../reconcile/acme/hosts.ts";
import { reconcileCertificates } from "../reconcile/certificates.ts";
import { reconcileComponent } from "../reconcile/component.ts";
import { reconcileCron } from "../reconcile/cron.ts";
import { reconcileLooks, type FollowDeps } from "../reconcile/follow.ts";
import { startLoop, type Handler, type Loop, type LoopMetrics } from "../reconcile/loop.ts";
import { resync, type ResyncDeps } from "../reconcile/resync.ts";
import { defaultRetention, retain } from "../reconcile/retention.ts";
import { reconcileStack, reconcileVolume } from "../reconcile/stack.ts";
import { reconcileTask } from "../reconcile/task.ts";
import type { BlobStore } from "../blobs/store.ts";

export interface LoopsDeps {
  readonly db: Db;
  readonly log: Log;
  readonly listener: Listener;
  readonly holder: string;
  readonly metrics: LoopMetrics;
  /** Those that work can be done for now. */
  readonly clusters: () => readonly string[];
  readonly blobs: BlobStore;
  readonly component: ComponentLoopDeps;
  readonly build: BuildLoopDeps;
  readonly images: NonNullable<Parameters<typeof retain>[0]["images"]>;
  readonly acme: HostDeps;
  readonly follow: FollowDeps;
  readonly resync: ResyncDeps;
  /** Work of the installation that is due now and then: sealing the audit log, forgetting old keys. */
  readonly housekeeping: (signal: AbortSignal) => Promise<void>;
}

const minute = 60_000;
/** ms between two looks at everything that a cluster has. */
const resyncPeriod = 30_000;

export function startLoops(deps: LoopsDeps): { stop(): Promise<void> } {
  const again = (ms: number): { again: Date } => ({ again: new Date(deps.component.clock().getTime() + ms) });
  const start = (
    kinds: string[],
    concurrency: number,
    handler: Handler,
    deadlineMs?: number,
    at: "cluster" | "machine" = "cluster",
  ): Loop =>
    startLoop({
      db: deps.db,
      log: deps.log,
      listener: deps.listener,
      holder: deps.holder,
      metrics: deps.metrics,
      clusters: deps.clusters,
      kinds,
      concurrency,
      at,
      handler,
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
    });
  const loops = [
    start(["component"], 16, (row, context) => reconcileComponent(deps.component, row.key, context), 5 * minute),
    start(
      ["build-schedule", "build"],
      // As many may keep what came out of them as have a place; and the scheduler.
      2 * deps.build.limits.total + 1,
      (row, context) => reconcileBuilds(deps.build, row, context),
      deps.build.deadline + 5 * minute,
      "machine",
    ),
    start(["task"], 16, (row, context) => reconcileTask(deps.component, row.key, context)),
    start(["cron", "stack", "volume"], 4, (row, context) => {
      if (row.kind === "cron") return reconcileCron(deps.component.clock, row.key, context.commit);
      const { db, places, clock } = deps.component;
      const of = { db, places, clock, builderFor: deps.build.builderFor, buildLogs: deps.build.logs };
      return row.kind === "stack" ? reconcileStack(of, row.key, context) : reconcileVolume(of, row.key, context);
    }),
    start(["image-look"], 4, (row, context) => reconcileLooks(deps.follow, row.key, context), 5 * minute),
    start(["resync"], 2, async (row, { signal, fence }) => {
      await resync(deps.resync, row.key, fence, signal);
      return again(resyncPeriod);
    }),
    start(["certificates"], 1, async (row, { signal, fence }) => {
      await reconcileCertificates(deps.component, row.key, fence, signal);
      return again(10 * minute);
    }),
    start(
      ["certificate-hosts", "certificate-host"],
      4,
      (row, context) =>
        row.kind === "certificate-hosts" ? reconcileHosts(deps.acme, row.key, context) : reconcileHost(deps.acme, row.key, context),
      15 * minute,
    ),
    start(
      ["retention"],
      1,
      async (_row, { signal }) => {
        await deps.housekeeping(signal);
        await retain(
          { db: deps.db, blobs: deps.blobs, buildLogs: deps.build.logs, clock: deps.component.clock, images: deps.images },
          defaultRetention,
          signal,
        );
        return again(10 * minute);
      },
      10 * minute,
    ),
  ];
  return {
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}
