// Services over a real database for tests of resources, without an engine: what needs one answers `engine_unavailable`, as when the edge is down.
import { BerthError } from "../src/core/errors.ts";
import { Rendered } from "../src/core/rendered.ts";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { openBlobFolder } from "../src/blobs/folder.ts";
import { filesOfInterest } from "../src/core/buildplan/interest.ts";
import { createEventReader } from "../src/db/events.ts";
import { createAccess } from "../src/db/permissions.ts";
import { openSecretBox } from "../src/db/secretbox.ts";
import { createTokenCheck } from "../src/db/tokens.ts";
import { createViews } from "../src/db/views.ts";
import { silentLog } from "../src/db/log.ts";
import { readSourceTree } from "../src/builders/source/tree.ts";
import { receiveUpload } from "../src/builders/source/upload.ts";
import { staticServerText } from "../src/edge/agent/static-install.ts";
import { EdgeTraffic } from "../src/engines/edge-traffic.ts";
import { LocalEngine } from "../src/engines/local/engine.ts";
import { createBuildLogs } from "../src/resources/builds/log.ts";
import type { Call, Handlers, Versioned } from "../src/resources/call.ts";
import { createHandlers, type HandlerDeps } from "../src/resources/handlers.ts";
import { useTestDatabase, type TestDatabase } from "./database.ts";

export interface TestServices {
  readonly database: TestDatabase;
  readonly deps: HandlerDeps;
  /** As the HTTP server is given them, and with each answer as a value. */
  readonly served: Handlers;
  readonly handlers: PlainHandlers;
  /** As the administrator. */ readonly call: (more?: Partial<Call>) => Call;
  readonly home: string;
}

type Value<T> = T extends Rendered<infer V> ? V : T extends Versioned<infer V> ? Versioned<Exclude<V, Rendered<unknown>>> : T;
export type PlainHandlers = {
  readonly [N in keyof Handlers]: (
    ...given: Parameters<Handlers[N]>
  ) => Promise<Value<Exclude<Awaited<ReturnType<Handlers[N]>>, Rendered<unknown>>>>;
};

/** What was put into words already is read back. */
export function plain(handlers: Handlers): PlainHandlers {
  const valueOf = (told: unknown): unknown => (told instanceof Rendered ? (JSON.parse(told.bytes.toString()) as unknown) : told);
  return Object.fromEntries(
    Object.entries(handlers).map(([name, handler]) => [
      name,
      async (...given: never[]): Promise<unknown> => {
        const answer = valueOf(await (handler as (...same: never[]) => Promise<unknown>)(...given));
        const { body } = (answer ?? {}) as { readonly body?: unknown };
        return body instanceof Rendered ? { ...(answer as object), body: valueOf(body) } : answer;
      },
    ]),
  ) as unknown as PlainHandlers;
}

/** `change` puts parts of its own in place of the standard ones. */
export function useServices(change: (deps: HandlerDeps) => Partial<HandlerDeps> = () => ({})): () => TestServices {
  const database = useTestDatabase();
  let services: TestServices | undefined;
  let close: (() => Promise<void>) | undefined;
  beforeAll(async () => {
    const home = mkdtempSync(join(tmpdir(), "berth-services-"));
    const { db } = database();
    await db
      .insertInto("clusters")
      .values({ name: "local", engine: "local" })
      .onConflict((conflict) => conflict.column("name").doNothing())
      .execute();
    const admin = await db.selectFrom("users").select("id").where("name", "=", "admin").executeTakeFirstOrThrow();
    const blobs = await openBlobFolder(join(home, "blobs"));
    const traffic = new EdgeTraffic({
      socketPath: join(home, "edge.sock"),
      home,
      cluster: "local",
      router: { host: "127.0.0.1", port: 8080 },
      now: Date.now,
    });
    const engine = new LocalEngine({
      home,
      agentSocket: join(home, "agent.sock"),
      logsSocket: join(home, "logs.sock"),
      cluster: "local",
      openBlob: (digest) => blobs.open(digest),
    });
    const views = createViews({ address: database().address, log: silentLog });
    const standard: HandlerDeps = {
      db,
      views,
      blobs,
      clock: () => new Date(),
      access: createAccess(db),
      tokens: createTokenCheck(db),
      secretBox: openSecretBox(join(home, "secrets.key")),
      places: { engine: () => engine, traffic: () => traffic, standard: "local", owns: () => true },
      addedClusters: {
        checkHost: () => Promise.resolve(),
        checkKube: () => Promise.reject(new BerthError("cluster_unusable", { server: "none", reason: "there is none here", hint: "" })),
        checkRenewed: () => Promise.reject(new BerthError("cluster_unusable", { server: "none", reason: "there is none here", hint: "" })),
        refresh: () => Promise.resolve(),
        state: () => undefined,
        clear: () => Promise.resolve(),
      },
      installation: () => "00000000-0000-4000-8000-000000000000",
      isOnOldBases: () => false,
      builderFor: () => ({ check: () => Promise.resolve(undefined) }),
      buildLogs: createBuildLogs(join(home, "builds"), blobs),
      events: createEventReader({ db, epoch: 1 }),
      readSourceTree: (digest, signal) => readSourceTree(blobs, digest, filesOfInterest, signal),
      staticServer: () => staticServerText(),
      receiveUpload: (stream, signal) => receiveUpload(stream, { blobs, tmpDir: join(home, "tmp") }, signal),
      fetchGit: () => Promise.reject(new BerthError("source_refused", { reason: "git is not part of these tests", hint: "" })),
    };
    const deps: HandlerDeps = { ...standard, ...change(standard) };
    const handlers = createHandlers(deps, {
      id: () => "test",
      version: "0.0.0",
      routerUrl: () => "http://127.0.0.1:8080",
      doctor: () => Promise.resolve([]),
    });
    const call = (more: Partial<Call> = {}): Call => ({
      principal: { kind: "user", id: admin.id, scopes: ["*"] },
      by: "admin",
      requestId: randomUUID(),
      signal: new AbortController().signal,
      ...more,
    });
    services = { database: database(), deps, served: handlers, handlers: plain(handlers), call, home };
    close = async () => {
      await views.close();
      await traffic.close();
      await engine.close();
      rmSync(home, { recursive: true, force: true });
    };
  });
  afterAll(async () => {
    await close?.();
  });
  return () => {
    if (services === undefined) throw new Error("the services are there only inside tests and hooks");
    return services;
  };
}
