// Real edges and endpoints for tests: processes and sockets in a folder of their own, all ended and removed afterwards.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, request, type IncomingHttpHeaders, type RequestListener, type RequestOptions, type Server } from "node:http";
import { connect, type AddressInfo, type Server as NetServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Fence, Ref } from "../../engines/engine.ts";
import { EdgeTraffic } from "../../engines/edge-traffic.ts";
import { isFree } from "../agent/ports.ts";
import { lockHolder } from "../primary/lock.ts";
import { edgeProgram, edgeWithTestAgent } from "./programs.ts";
import type { TrafficEndpoint, TrafficEntry, TrafficPort } from "../../engines/traffic.ts";

/** The product's own entry, and the one with an agent that tests speak through. */
export const realEntry = edgeProgram("edge");
export const testEntry = edgeWithTestAgent();

export const installation = "test";
export const ref: Ref = { stack: "shop", component: "web" };
export const host = "web.shop.localhost";
export const never = new AbortController().signal;
export const fence = (generation: number, epoch = 1): Fence => ({ installation, epoch, generation });

export class TestEdge implements AsyncDisposable {
  readonly home: string;
  readonly traffic: EdgeTraffic;
  readonly #overrides: Record<string, unknown>;
  readonly #launcher: readonly string[];
  process: ChildProcess | undefined;
  port = 0;
  stderr = "";

  private constructor(home: string, overrides: Record<string, unknown>, launcher: readonly string[]) {
    this.home = home;
    this.#overrides = overrides;
    this.#launcher = launcher;
    this.traffic = new EdgeTraffic({
      socketPath: join(home, "run", "edge.sock"),
      home,
      cluster: "local",
      router: { host: "127.0.0.1", port: 0 },
      now: Date.now,
    });
  }

  /** `launcher`: a command that starts it, in the same process at last (`taskset -c 0`). */
  static async start(overrides: Record<string, unknown> = {}, launcher: readonly string[] = []): Promise<TestEdge> {
    const edge = new TestEdge(await mkdtemp(join(tmpdir(), "berth-edge-")), overrides, launcher);
    try {
      await edge.up();
      return edge;
    } catch (error) {
      await edge[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Another process on the same home folder, as somebody starts it who does not know of the first; rejects with its last words. */
  static async again(edge: TestEdge): Promise<void> {
    const child = spawn(process.execPath, [testEntry, join(edge.home, "edge.json")], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    // Its last words may come after its end.
    await once(child, "close");
    throw new Error(said);
  }

  /** Starts the process (again) on the same home folder. */
  async up(): Promise<void> {
    const configFile = join(this.home, "edge.json");
    const { flags = [], ...overrides } = this.#overrides as { readonly flags?: readonly string[] };
    await writeFile(
      configFile,
      JSON.stringify({
        home: this.home,
        runDir: join(this.home, "run"),
        installation,
        router: { host: "127.0.0.1", port: 0, portIsDefault: false },
        workers: 2,
        children: { agent: true, collector: false },
        shutdownGrace: 2_000,
        succession: false,
        ...overrides,
      }),
    );
    const [command = "", ...args] = [...this.#launcher, process.execPath, testEntry, configFile, ...flags];
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.process = child;
    // A test that failed half-way must leave nothing behind; the children follow their primary.
    process.once("exit", () => child.kill("SIGKILL"));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(`the edge ended: ${this.stderr}`);
        return this.traffic.hello(never).then(
          (hello) => {
            this.port = hello.router.port;
            return hello.pid === child.pid;
          },
          () => false,
        );
      },
      60_000,
      "the start of the edge",
    );
    await until(() => existsSync(join(this.home, "run", "agent.sock")), 60_000, "the agent's socket");
  }

  async down(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  /** What the agent reports; resolves when every router knows. `full`: everything else is not ready. */
  async ready(instances: Readonly<Record<string, boolean>>, full = false): Promise<void> {
    const message = { type: "readiness", full, instances: Object.entries(instances).map(([id, ready]) => ({ id, ready })) };
    const socket = connect(join(this.home, "run", "agent.sock"));
    socket.write(`${JSON.stringify(message)}\n`);
    // An agent that ends meanwhile says nothing more.
    const closed = once(socket, "close").then(() => {
      throw new Error("the agent ended before it answered");
    });
    await Promise.race([once(socket, "data"), closed]);
    socket.destroy();
    // An entry's acknowledgement comes after everything that was sent to the routers before it.
    await this.traffic.apply(await webEntry([], { ref: { stack: "test-barrier", component: "none" }, ports: [] }), fence(1), never);
  }

  async workers(): Promise<readonly number[]> {
    return (await this.traffic.hello(never)).workers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down("SIGTERM");
    // Another primary may have taken its place.
    const successor = lockHolder(join(this.home, "run", "edge.lock"));
    if (successor !== undefined) {
      process.kill(successor, "SIGTERM");
      await until(() => lockHolder(join(this.home, "run", "edge.lock")) === undefined, 60_000, "the end of the next edge");
    }
    await this.traffic.close();
    await rm(this.home, { recursive: true, force: true });
  }
}

/** Polls a condition; throws with `what` when it does not come true in time. */
export async function until(condition: () => Promise<boolean> | boolean, ms = 30_000, what = "the condition"): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${what} did not come true within ${String(ms)} ms`);
    await sleep(10);
  }
}

export interface TestEndpoint extends AsyncDisposable {
  readonly server: Server;
  readonly port: number;
  readonly endpoint: TrafficEndpoint;
}

/** A real HTTP server as an instance. */
export async function endpoint(
  instance: string,
  listener: RequestListener,
  options: { readonly releaseHash?: string; readonly port?: number } = {},
): Promise<TestEndpoint> {
  const server = createServer(listener);
  const port = await listening(server, options.port ?? 0);
  return {
    server,
    port,
    endpoint: { instance, releaseHash: options.releaseHash ?? "sha256:a", host: "127.0.0.1", port, state: "active" },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      if (server.listening)
        await new Promise((resolve) => {
          server.close(resolve);
        });
    },
  };
}

export async function listening(server: NetServer, port = 0): Promise<number> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

export const draining = (endpoint: TrafficEndpoint): TrafficEndpoint => ({ ...endpoint, state: "draining" });

/** A free port that nobody else is given meanwhile: below those that a system gives out by itself, and below those of instances. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    if (await isFree(port)) return port;
  }
}

let internal = 0;

/** An entry of one http port with all weight on `stable`. */
export async function webEntry(
  endpoints: readonly TrafficEndpoint[],
  changes: Partial<TrafficEntry> = {},
  port: Partial<TrafficPort> = {},
): Promise<TrafficEntry> {
  if (internal === 0) internal = await freePort();
  return {
    ref,
    rules: [],
    holdFor: 2_000,
    drainTimeout: 5_000,
    stopped: false,
    ports: [
      {
        name: "http",
        protocol: "http",
        hosts: [{ host, path: "/" }],
        internal,
        tracks: [{ name: "stable", weight: 100, endpoints }],
        ...port,
      },
    ],
    ...changes,
  };
}

/** Fetches with Node's own client, whole: for tests that need exact control of the head. */
export function fetchRaw(
  port: number,
  options: RequestOptions,
  body?: Buffer | string,
): Promise<{ status: number; headers: IncomingHttpHeaders; trailers: NodeJS.Dict<string>; rawHeaders: string[]; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const req = request({ host: "127.0.0.1", port, agent: false, ...options }, (res) => {
      const chunks: Buffer[] = [];
      res.on("data", (chunk: Buffer) => chunks.push(chunk));
      res.on("end", () => {
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          trailers: res.trailers,
          rawHeaders: res.rawHeaders,
          body: Buffer.concat(chunks),
        });
      });
      res.on("error", reject);
    });
    req.on("error", reject);
    req.end(body);
  });
}

/** Sends bytes as they are and collects what comes back until the other side ends. */
export function exchangeBytes(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port });
    let text = "";
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      text += chunk;
    });
    socket
      .on("end", () => {
        socket.end();
        resolve(text);
      })
      .on("error", reject);
    socket.write(bytes);
  });
}
