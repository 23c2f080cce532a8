// What is kept of a listener, and until when: a port that somebody else holds is tried again every second, for months perhaps.
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { routerLimits } from "../../core/router-limits.ts";
import { Sockets } from "../primary/sockets.ts";
import { freePort, listening } from "../testing/harness.ts";
import { AccessLog } from "./accesslog.ts";
import { Certificates } from "./certificates.ts";
import { Proofs } from "./proofs.ts";
import type { RouterContext } from "./context.ts";
import { createHttpServer, listen, stopAccepting } from "./server.ts";
import type { SocketSource } from "./sockets.ts";
import { RouterStats } from "./stats.ts";
import { RouteTable } from "./table.ts";

it("a server that cannot listen leaves nothing behind, one that listens is known until it ends", async () => {
  const folder = await mkdtemp(join(tmpdir(), "berth-server-"));
  const log = new AccessLog(join(folder, "access.log"));
  const ctx = context(log);
  const sockets = new Sockets();
  const user = {};
  const source: SocketSource = {
    obtain: async (host, port) => {
      const opened = await sockets.open({ host, port }, user);
      return "code" in opened ? opened.code : opened.handle;
    },
    giveBack: (host, port) => {
      sockets.release({ host, port }, user);
    },
  };
  const holder = createServer();
  try {
    const held = await listening(holder);
    for (let time = 0; time < 5; time += 1)
      expect(await listen(source, createHttpServer(ctx, undefined), "127.0.0.1", held)).toBe("EADDRINUSE");
    expect(ctx.crowds.size).toBe(0);

    const server = createHttpServer(ctx, undefined);
    expect(await listen(source, server, "127.0.0.1", await freePort())).toBeUndefined();
    expect(ctx.crowds.size).toBe(1);
    await stopAccepting(server);
    expect(ctx.crowds.size).toBe(0);
  } finally {
    holder.close();
    await log.close();
    await rm(folder, { recursive: true, force: true });
  }
});

function context(log: AccessLog): RouterContext {
  const now = (): number => performance.now();
  return {
    table: new RouteTable({ responseTimeout: 1_000, now }),
    stats: new RouterStats(),
    log,
    probeKey: Buffer.alloc(32),
    now,
    random: Math.random,
    requestId: () => "",
    keeps: { accessLog: false, metrics: false },
    limits: {
      headerBytes: 16_384,
      headersTimeout: 1_000,
      clientTimeout: 1_000,
      idleTimeout: 1_000,
      restFrom: routerLimits.restFrom.standard,
      maxConnections: 100,
      maxConnectionsPerClient: 100,
    },
    errorDetails: "never",
    hstsSeconds: 0,
    doorkeeper: undefined,
    uploads: new Set(),
    isTrusted: () => false,
    pipes: new Set(),
    crowds: new Set(),
    sessions: new Set(),
    certificates: new Certificates(),
    proofs: new Proofs(Date.now),
    securePort: 0,
    exchanges: 0,
    retiring: false,
  };
}
