// A router process: takes its orders from the primary over IPC, serves requests, and survives whatever one request does. It holds no state that the primary could not give again.
import cluster from "node:cluster";
import { performance } from "node:perf_hooks";
import pino from "pino";
import type { FromRouter, MetricsSnapshot, StoredEntry, ToRouter } from "../ipc.ts";
import { AccessLog } from "./accesslog.ts";
import { requestIds, trustedAddresses, type RouterContext } from "./context.ts";
import { Listeners } from "./listeners.ts";
import { createHttpServer, listen, stopAccepting } from "./server.ts";
import { RouterStats } from "./stats.ts";
import { refKey, RouteTable } from "./table.ts";

type Init = Extract<ToRouter, { type: "init" }>;

function send(message: FromRouter): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

class Router {
  readonly #ctx: RouterContext;
  readonly #server: ReturnType<typeof createHttpServer>;
  readonly #listeners: Listeners;
  /** Orders take effect in the order they came. */
  #last: Promise<void> = Promise.resolve();

  constructor(init: Init) {
    const { settings } = init;
    const now = (): number => performance.now();
    const table = new RouteTable({ responseTimeout: settings.responseTimeout, now });
    const log = new AccessLog(settings.accessLog);
    this.#ctx = {
      table, log, stats: new RouterStats(), probeKey: Buffer.from(init.probeKey, "hex"), now, random: Math.random, requestId: requestIds(),
      isTrusted: trustedAddresses(settings.trustedProxies), pipes: new Set(), retiring: false,
    };
    this.#server = createHttpServer(this.#ctx, undefined);
    this.#listeners = new Listeners({ ctx: this.#ctx, publicHost: init.host, report: (problems) => { send({ type: "listeners", problems }); } });
  }

  async start(init: Init): Promise<void> {
    const { table } = this.#ctx;
    table.setReady(init.readiness);
    table.applyAll(init.entries);
    const failed = await listen(this.#server, init.host, init.port);
    if (failed !== undefined) return send({ type: "failed", code: failed, message: `${init.host}:${String(init.port)}` });
    for (const component of table.components.values()) await this.#listeners.follow(component.ref, component);
    send({ type: "listening" });
  }

  obey(message: Exclude<ToRouter, Init>): void {
    switch (message.type) {
      case "entry": this.#serially(() => this.#apply(message.seq, message.stored)); return;
      case "readiness": this.#ctx.table.setReady(message.instances); return;
      case "applied": send({ type: "appliedAnswer", seq: message.seq, instances: this.#ctx.table.counts(message.ref) }); return;
      case "metrics": send({ type: "metricsAnswer", seq: message.seq, snapshot: this.#snapshot() }); return;
      case "retryListeners": this.#serially(() => this.#listeners.retry()); return;
      case "reopenLog": this.#ctx.log.reopen(); return;
      case "retire": void this.#retire(message.grace); return;
      default: message satisfies never;
    }
  }

  #serially(work: () => Promise<void>): void {
    this.#last = this.#last.then(work);
  }

  async #apply(seq: number, stored: StoredEntry): Promise<void> {
    const { table } = this.#ctx;
    table.apply(stored);
    await this.#listeners.follow(stored.ref, table.components.get(refKey(stored.ref)));
    send({ type: "ack", seq });
  }

  #snapshot(): MetricsSnapshot {
    const { table, stats, log } = this.#ctx;
    return { tracks: table.metrics(), unrouted: [...stats.unrouted], connections: structuredClone(stats.connections), logDropped: log.dropped, residentBytes: process.memoryUsage.rss() };
  }

  /** Leaves without losing a request: accepts nothing, asks every client to connect anew with its next answer, and ends when all connections are closed. */
  async #retire(grace: number): Promise<void> {
    const ctx = this.#ctx;
    if (ctx.retiring) return;
    ctx.retiring = true;
    const cut = setTimeout(() => {
      this.#server.closeAllConnections();
      for (const pipe of ctx.pipes) pipe.destroy();
      setTimeout(() => { void this.#exit(); }, 500).unref();
    }, grace);
    await Promise.all([stopAccepting(this.#server), this.#listeners.stop()]);
    clearTimeout(cut);
    await this.#exit();
  }

  async #exit(): Promise<void> {
    send({ type: "metricsAnswer", seq: 0, snapshot: this.#snapshot() });
    await this.#ctx.log.close();
    cluster.worker?.disconnect();
    // Disconnecting flushes the channel; what is left then (timers) holds nothing that matters.
    process.once("disconnect", () => { process.exit(0); });
  }
}

type GetServer = (server: { readonly _handle: unknown }, options: unknown, done: (error: number, handle: { close(): void } | null) => void) => void;

/**
 * node:cluster (24.21) keeps a shared handle whose address turned out to be taken, and asserts that there is none at the next attempt: retrying a port would
 * end in a crash of the router for every second that somebody else holds it. A handle that its server did not take is given back here.
 */
function giveBackUnusedHandles(): void {
  const inner = cluster as unknown as { _getServer: GetServer };
  const getServer = inner._getServer;
  inner._getServer = (server, options, done) => {
    getServer.call(inner, server, options, (error, handle) => {
      done(error, handle);
      if (handle !== null && server._handle !== handle) handle.close();
    });
  };
}

/** The process entry; only the primary starts it. */
function main(): void {
  giveBackUnusedHandles();
  const log = pino({ name: "edge-router" }, pino.destination({ dest: 2, sync: true }));
  let router: Router | undefined;
  process.on("message", (message: ToRouter) => {
    if (message.type !== "init") return router?.obey(message);
    try {
      router = new Router(message);
    } catch (error) {
      return send({ type: "failed", code: error instanceof Error ? error.message : String(error), message: "a router cannot start" });
    }
    void router.start(message);
  });
  // The primary decides when a router ends; a signal to the whole group must not cut requests.
  process.on("SIGINT", () => undefined).on("SIGTERM", () => undefined).on("SIGHUP", () => undefined);
  const broken = (error: unknown): void => {
    log.error({ err: error }, "unexpected error");
    send({ type: "broken", reason: error instanceof Error ? error.message : String(error) });
  };
  process.on("uncaughtException", broken).on("unhandledRejection", broken);
  send({ type: "hearing" });
}

main();
