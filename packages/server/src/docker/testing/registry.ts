// A registry of a test's own: Debian's docker-registry behind a proxy that can fail as registries do. Everybody who asks has to sign in; images can be deleted.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Readable } from "node:stream";
import type { DockerApi } from "../api.ts";
import { readNdjson } from "../ndjson.ts";
import { authHeader } from "../registry-auth.ts";
import { missing } from "./daemon.ts";

/** What becomes of a request instead of its answer. */
export type Fault =
  | { readonly status: number }
  /** Closes the connection after so many bytes of the body that is larger: the request's, or the answer's. */
  | { readonly cutAfter: number }
  /** Waits with it until then; with `after`, once so many bytes of the answer went through. */
  | { readonly until: Promise<unknown>; readonly after?: number };

export interface TestRegistry extends AsyncDisposable {
  /** Where daemons ask, by way of the proxy: `127.0.0.1:4711`. */
  readonly host: string;
  readonly login: { readonly host: string; readonly username: string; readonly password: string };
  /** Asked for each request; undefined: it is passed on. */
  fault: ((method: string, path: string) => Fault | undefined) | undefined;
  /** `METHOD /path` of all requests so far. */
  readonly requests: readonly string[];
  /** Asks the registry itself, signed in; rejects nothing but a broken connection. */
  ask(
    method: string,
    path: string,
    options?: { readonly body?: string; readonly type?: string; readonly accept?: string },
  ): Promise<Response>;
}

/** Made by bcrypt at its lowest cost. */
const account = { name: "berth", password: "correct-horse-battery", hash: "$2b$04$xorRbnc8ZUeKIOKr/HMGsu7x1Qd6/E8GDS/aZ.eaFOh.0r5FAl/cq" };

/** Why there can be none here; undefined when there can. */
export const registryMissing = (): string | undefined => missing(["docker-registry"], "docker-registry");

/** Whom it tells of what is pushed. */
export interface Notified {
  readonly url: string;
  readonly authorization: string;
}

/** `deletes: false`: it says 405 to whoever wants something deleted. `notify` is asked once its address is known. */
export async function startRegistry({
  deletes = true,
  notify,
  address = "127.0.0.1",
}: {
  readonly deletes?: boolean;
  readonly notify?: (host: string) => Promise<Notified>;
  readonly address?: string;
} = {}): Promise<TestRegistry> {
  const proxy = new Proxy();
  await proxy.open(address);
  const told = await notify?.(proxy.host);
  const folder = mkdtempSync(join(tmpdir(), "berth-registry-"));
  writeFileSync(join(folder, "htpasswd"), `${account.name}:${account.hash}\n`);
  writeFileSync(
    join(folder, "config.yml"),
    JSON.stringify({
      version: "0.1",
      log: { level: "info", formatter: "json" },
      storage: { filesystem: { rootdirectory: join(folder, "data") }, delete: { enabled: deletes } },
      http: { addr: "127.0.0.1:0", secret: "test", relativeurls: true },
      auth: { htpasswd: { realm: "test", path: join(folder, "htpasswd") } },
      ...(told === undefined
        ? {}
        : {
            notifications: {
              endpoints: [
                {
                  name: "berth",
                  url: told.url,
                  headers: { Authorization: [told.authorization] },
                  timeout: "5s",
                  threshold: 3,
                  backoff: "1s",
                },
              ],
            },
          }),
    }),
  );
  const child = spawn("docker-registry", ["serve", join(folder, "config.yml")], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"] },
  });
  const stop = async (): Promise<void> => {
    proxy.close();
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const port = await listening(child);
    proxy.to = port;
    const authorization = `Basic ${Buffer.from(`${account.name}:${account.password}`).toString("base64")}`;
    return Object.assign(proxy, {
      login: { host: proxy.host, username: account.name, password: account.password },
      ask: (method: string, path: string, { body, type, accept }: { body?: string; type?: string; accept?: string } = {}) =>
        fetch(`http://127.0.0.1:${String(port)}${path}`, {
          method,
          headers: { authorization, ...(type === undefined ? {} : { "content-type": type }), ...(accept === undefined ? {} : { accept }) },
          ...(body === undefined ? {} : { body }),
        }),
      [Symbol.asyncDispose]: stop,
    });
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The port, once it says that it listens there. */
async function listening(child: ChildProcess): Promise<number> {
  const told: string[] = [];
  const found = Promise.withResolvers<number>();
  child.once("error", found.reject);
  child.once("exit", () => found.reject(new Error(`docker-registry ended at its start:\n${told.join("\n")}`)));
  if (child.stderr === null) throw new Error("no output");
  createInterface({ input: child.stderr }).on("line", (line) => {
    told.push(line);
    const port = /listening on 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    if (port !== undefined) found.resolve(Number(port));
  });
  return found.promise;
}

class Proxy {
  fault: TestRegistry["fault"];
  readonly requests: string[] = [];
  host = "";
  /** The registry's own port; 0: not yet. */
  to = 0;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    // As the registry itself: who sends on a connection at the moment of its end would lose what it sent.
    this.#server.keepAliveTimeout = 0;
  }

  async open(address: string): Promise<void> {
    this.#server.listen(0, address);
    await once(this.#server, "listening");
    this.host = `${address}:${String((this.#server.address() as AddressInfo).port)}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "/" } = request;
    this.requests.push(`${method} ${url}`);
    const fault = this.fault?.(method, url);
    if (fault !== undefined && "until" in fault && fault.after === undefined) await fault.until;
    if (fault !== undefined && "status" in fault) {
      request.resume();
      response.writeHead(fault.status, { "content-type": "text/plain" }).end("no");
      return;
    }
    const left = fault !== undefined && "cutAfter" in fault ? fault.cutAfter : Infinity;
    const cut = (stream: IncomingMessage): void => {
      let bytes = 0;
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > left) request.socket.destroy();
      });
    };
    const { headers } = request;
    const on = httpRequest({ host: "127.0.0.1", port: this.to, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      if (fault !== undefined && "until" in fault && fault.after !== undefined) holding(answer, fault.until, fault.after).pipe(response);
      else {
        cut(answer);
        answer.pipe(response);
      }
      // What broke on one side is broken on the other.
      answer.on("error", () => response.destroy());
    });
    on.on("error", () => response.destroy());
    request.on("error", () => on.destroy());
    cut(request);
    request.pipe(on);
  }
}

/** The same bytes over a slow line, of which those after so many come later. */
function holding(from: IncomingMessage, until: Promise<unknown>, after: number): Readable {
  return Readable.from(
    (async function* () {
      let passed = 0;
      for await (const chunk of from as AsyncIterable<Buffer>) {
        const now = Math.max(0, Math.min(chunk.length, after - passed));
        passed += chunk.length;
        // dockerd tells of a download ten times a second at most, and never of the last piece before it stands still.
        await sleep(10);
        if (now > 0) yield chunk.subarray(0, now);
        if (now === chunk.length) continue;
        await until;
        yield chunk.subarray(now);
      }
    })(),
    { objectMode: false },
  );
}

/** Pushes an image that the daemon has under a name of this registry, and takes that name from the daemon. Rejects with what the daemon says of a failure. */
export async function pushImage(
  api: DockerApi,
  { host, login }: Pick<TestRegistry, "host" | "login">,
  name: string,
  tag: string,
): Promise<void> {
  const answer = await api.stream("POST", `/images/${host}/${name}/push`, {
    query: { tag },
    headers: authHeader(login),
    timeout: Infinity,
  });
  for await (const { error } of readNdjson<{ error?: string }>(answer)) if (error !== undefined) throw new Error(error);
  await api.json("DELETE", `/images/${host}/${name}:${tag}`);
}
