// A router process: takes its orders from the primary, serves requests, and survives whatever one request does, and the primary too. It holds no state that the
// primary could not give again.
import { performance } from "node:perf_hooks";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pino from "pino";
import type { InFlight, MetricsSnapshot, StoredEntry, ToRouter } from "../ipc.ts";
import type { SocketHandle } from "../primary/sockets.ts";
import { register, unregister } from "../registry.ts";
import { AccessLog } from "./accesslog.ts";
import { Certificates } from "./certificates.ts";
import { trustedAddresses } from "./clientaddress.ts";
import { requestIds, type RouterContext } from "./context.ts";
import { Doorkeeper, withinFiles } from "./doorkeeper.ts";
import { PrimaryLink } from "./link.ts";
import { Listeners } from "./listeners.ts";
import { lookEvery } from "./looks.ts";
import { SecureListener } from "./secure.ts";
import { createHttpServer, listen, stopAccepting } from "./server.ts";
import { Proofs } from "./proofs.ts";
import { RouterSockets } from "./sockets.ts";
import { RouterStats } from "./stats.ts";
import { Succession } from "./succession.ts";
import { leave } from "../../os/leave.ts";
import { trimWhenQuiet } from "../../os/trim.ts";
import { refKey, RouteTable } from "./table.ts";

type Init = Extract<ToRouter, { type: "init" }>;

/** ms between two reports of what is in flight, and between two looks for the next primary. */
const reportEvery = 250;
const successionEvery = 50;
/** Turns that a router which leaves waits for the last of its requests to be recorded, and ms between two of them. Not a time: one that is held up hears nothing meanwhile. */
const lastWords = { turns: 100, pause: 5 };

class Router {
  readonly #init: Init;
  readonly #link: PrimaryLink;
  readonly #ctx: RouterContext;
  readonly #server: ReturnType<typeof createHttpServer>;
  readonly #listeners: Listeners;
  readonly #secure: SecureListener;
  readonly #sockets: RouterSockets;
  readonly #reporter: NodeJS.Timeout;
  readonly #watchers: readonly NodeJS.Timeout[];
  /** Orders take effect in the order they came. */
  #last: Promise<void> = Promise.resolve();
  #serving = false;
  #reported = "[]";

  constructor(init: Init, link: PrimaryLink) {
    const { settings } = init;
    this.#init = init;
    this.#link = link;
    const now = (): number => performance.now();
    const table = new RouteTable({ responseTimeout: settings.responseTimeout, now });
    const log = new AccessLog(settings.accessLog);
    this.#ctx = {
      table,
      log,
      stats: new RouterStats(),
      probeKey: Buffer.from(init.probeKey, "hex"),
      now,
      random: Math.random,
      requestId: settings.leaveOut.includes("requestIds") ? () => "" : requestIds(),
      keeps: { accessLog: !settings.leaveOut.includes("accessLog"), metrics: !settings.leaveOut.includes("metrics") },
      limits: settings.limits,
      errorDetails: settings.errorDetails,
      hstsSeconds: settings.hstsSeconds ?? 0,
      uploads: new Set(),
      doorkeeper: undefined,
      isTrusted: trustedAddresses(settings.trustedProxies),
      pipes: new Set(),
      crowds: new Set(),
      sessions: new Set(),
      certificates: new Certificates(),
      proofs: new Proofs(Date.now),
      securePort: 0,
      exchanges: 0,
      retiring: false,
    };
    this.#sockets = new RouterSockets((message) => {
      link.send(message);
    });
    const doorkeeper = new Doorkeeper({ ...this.#ctx, limits: withinFiles(settings.limits) }, (open) => {
      link.send({ type: "crowded", open });
    });
    this.#ctx.doorkeeper = doorkeeper;
    this.#server = createHttpServer(this.#ctx, undefined);
    this.#listeners = new Listeners({
      sockets: this.#sockets,
      ctx: this.#ctx,
      publicHost: init.host,
      report: (problems) => {
        link.send({ type: "listeners", problems });
      },
    });
    this.#secure = new SecureListener({
      sockets: this.#sockets,
      ctx: this.#ctx,
      report: (problem) => {
        link.send({ type: "secure", problem: problem ?? null });
      },
    });
    this.#watchers = [...this.#watch(settings.limits.clientTimeout, doorkeeper), this.#watchSessions(settings.limits)];
    this.#reporter = setInterval(() => {
      this.#reportInFlight();
    }, reportEvery).unref();
  }

  /** Looks after clients that send or read too slowly. */
  #watch(clientTimeout: number, doorkeeper: Doorkeeper): NodeJS.Timeout[] {
    if (clientTimeout === 0) return [];
    const look = (): void => {
      const at = this.#ctx.now();
      for (const upload of this.#ctx.uploads) upload.check(at, clientTimeout);
    };
    return [
      lookEvery(Math.min(1_000, clientTimeout / 4), look),
      lookEvery(clientTimeout / 4, () => {
        doorkeeper.look();
      }),
    ];
  }

  #watchSessions({ headersTimeout, idleTimeout, clientTimeout }: Init["settings"]["limits"]): NodeJS.Timeout {
    const shortest = Math.min(...[headersTimeout, idleTimeout, clientTimeout].filter((limit) => limit > 0));
    return lookEvery(Math.min(2_000, shortest / 4), () => {
      const now = this.#ctx.now();
      for (const session of this.#ctx.sessions) session.check(now);
    });
  }

  /** What comes meanwhile follows it: it begins with what was known when this router was ordered. */
  start(): void {
    this.#serially(() => this.#start());
  }

  async #start(): Promise<void> {
    const { host, port, readiness, entries, settings } = this.#init;
    const { table } = this.#ctx;
    register(settings.runDir, "accepting");
    table.setReady(readiness);
    table.applyAll(entries);
    this.#ctx.proofs.replace(this.#init.proofs ?? []);
    const failed = await listen(this.#sockets, this.#server, host, port);
    if (failed !== undefined) return this.#link.send({ type: "failed", code: failed, message: `${host}:${String(port)}` });
    for (const component of table.components.values()) await this.#listeners.follow(component.ref, component);
    if (this.#init.tls !== undefined) await this.#secure.obey(this.#init.tls);
    this.#serving = true;
    this.#link.send({ type: "listening" });
  }

  obey(message: Exclude<ToRouter, Init>, handle: SocketHandle | undefined): void {
    const { table, log } = this.#ctx;
    switch (message.type) {
      case "entry":
        this.#serially(() => this.#apply(message.seq, message.stored));
        return;
      case "elsewhere":
        table.setElsewhere(message.inFlight);
        return;
      case "readiness":
        table.setReady(message.instances);
        return;
      case "applied":
        this.#link.send({ type: "appliedAnswer", seq: message.seq, instances: table.counts(message.ref) });
        return;
      case "metrics":
        this.#link.send({ type: "metricsAnswer", seq: message.seq, snapshot: this.#snapshot() });
        return;
      case "retryListeners":
        this.#serially(async () => {
          await this.#listeners.retry();
          await this.#secure.retry();
        });
        return;
      case "tls":
        this.#serially(async () => {
          await this.#secure.obey(message.orders);
          this.#link.send({ type: "ack", seq: message.seq });
        });
        return;
      case "proofs":
        this.#serially(() => {
          this.#ctx.proofs.replace(message.proofs);
          this.#link.send({ type: "ack", seq: message.seq });
          return Promise.resolve();
        });
        return;
      case "reopenLog":
        log.reopen();
        return;
      case "socket":
        this.#sockets.answered(message.seq, message.code ?? handle ?? "EAGAIN");
        return;
      case "sync":
        this.#serially(() => this.#sync(message));
        return;
      case "leave":
        this.#link.leaveParent();
        return;
      case "retire":
        void this.#retire(message.grace);
        return;
      default:
        message satisfies never;
    }
  }

  /** Serves on without a primary, until another one is there or this router has nothing left to do. */
  async orphaned(): Promise<void> {
    const { settings, host, port } = this.#init;
    this.#sockets.refuseAsked("EAGAIN");
    // It had not begun yet: the next primary starts its own.
    if (!this.#serving) return this.#exit();
    this.#listeners.freeze();
    this.#secure.freeze();
    const succession =
      settings.successor === undefined
        ? undefined
        : new Succession({
            runDir: settings.runDir,
            successor: settings.successor,
            place: settings.place,
            router: { host, port },
            sockets: () => this.#sockets.all(),
            ready: () => this.#ctx.table.readyInstances(),
            now: this.#ctx.now,
          });
    const socket = join(settings.runDir, "routers.sock");
    while (!(await this.#link.connectTo(socket, this.#ctx.retiring ? "leaving" : "accepting"))) {
      if (this.#ctx.retiring) {
        // Its connections end by themselves, or with the time that it was given.
      } else if (succession === undefined) return this.#retire(0);
      else if (succession.look() === "end") return this.#retire(0);
      await sleep(successionEvery);
    }
  }

  #serially(work: () => Promise<void>): void {
    this.#last = this.#last.then(work);
  }

  async #apply(seq: number, stored: StoredEntry): Promise<void> {
    const { table } = this.#ctx;
    table.apply(stored);
    await this.#listeners.follow(stored.ref, table.components.get(refKey(stored.ref)));
    this.#link.send({ type: "ack", seq });
  }

  /** What the new primary knows replaces what the old one said. */
  #sync({ seq, entries, readiness }: Extract<ToRouter, { type: "sync" }>): Promise<void> {
    const { table } = this.#ctx;
    table.replaceAll(entries, readiness);
    this.#link.send({ type: "ack", seq });
    return Promise.resolve();
  }

  #snapshot(): MetricsSnapshot {
    const { table, stats, log } = this.#ctx;
    return {
      tracks: table.metrics(),
      unrouted: [...stats.unrouted],
      connections: structuredClone(stats.connections),
      logDropped: log.dropped,
      refusedConnections: stats.refusedConnections,
      residentBytes: process.memoryUsage.rss(),
    };
  }

  #reportInFlight(): void {
    const tracks: readonly InFlight[] = this.#ctx.table.inFlight();
    const text = JSON.stringify(tracks);
    if (text === this.#reported) return;
    this.#reported = text;
    this.#link.send({ type: "inFlight", tracks });
  }

  /** Leaves without losing a request: accepts nothing, asks every client to connect anew with its next answer, and ends when all connections are closed. */
  async #retire(grace: number): Promise<void> {
    const ctx = this.#ctx;
    if (ctx.retiring) return;
    ctx.retiring = true;
    register(this.#init.settings.runDir, "leaving");
    for (const session of ctx.sessions) session.leave();
    const cut = setTimeout(() => {
      this.#server.closeAllConnections();
      this.#secure.closeAllConnections();
      for (const crowd of ctx.crowds) crowd.closeAll();
      for (const session of ctx.sessions) session.destroy();
      for (const pipe of ctx.pipes) pipe.destroy();
      setTimeout(() => {
        void this.#exit();
      }, 500).unref();
    }, grace);
    await Promise.all([stopAccepting(this.#server), this.#listeners.stop(), this.#secure.stop()]);
    clearTimeout(cut);
    await this.#recorded();
    await this.#exit();
  }

  /** A server has closed as soon as its last connection is about to: what was broken off with that is recorded a moment later, and must not be lost. */
  async #recorded(): Promise<void> {
    const { exchanges, pipes } = this.#ctx;
    if (exchanges + pipes.size === 0) return;
    for (let turn = 0; this.#ctx.exchanges + pipes.size > 0 && turn < lastWords.turns; turn += 1) await sleep(lastWords.pause);
  }

  async #exit(): Promise<void> {
    clearInterval(this.#reporter);
    for (const watcher of this.#watchers) clearInterval(watcher);
    this.#link.send({ type: "inFlight", tracks: [] });
    this.#link.send({ type: "metricsAnswer", seq: 0, snapshot: this.#snapshot() });
    await this.#ctx.log.close();
    unregister(this.#init.settings.runDir);
    // What is left then (timers) holds nothing that matters.
    this.#link.close(() => {
      leave(0);
    });
  }
}

/** The process entry; only the primary starts it. */
function main(): void {
  const log = pino({ name: "edge-router" }, pino.destination({ dest: 2, sync: true }));
  let router: Router | undefined;
  const link = new PrimaryLink({
    onMessage: (message, handle) => {
      if (message.type !== "init") return router?.obey(message, handle);
      try {
        router = new Router(message, link);
      } catch (error) {
        return link.send({
          type: "failed",
          code: error instanceof Error ? error.message : String(error),
          message: "a router cannot start",
        });
      }
      router.start();
    },
    onOrphaned: () => {
      if (router === undefined) leave(0);
      void router.orphaned();
    },
  });
  // The primary decides when a router ends; a signal to the whole group must not cut requests.
  process
    .on("SIGINT", () => undefined)
    .on("SIGTERM", () => undefined)
    .on("SIGHUP", () => undefined);
  const broken = (error: unknown): void => {
    log.error({ err: error }, "unexpected error");
    link.send({ type: "broken", reason: error instanceof Error ? error.message : String(error) });
  };
  process.on("uncaughtException", broken).on("unhandledRejection", broken);
  // For as long as the process lives.
  trimWhenQuiet(new AbortController().signal, { quiet: 0.05, growth: 8 * 1024 ** 2 });
  link.send({ type: "hearing" });
}

main();
