// Process entry of the collector, a child of the edge's primary: reads what instances write, keeps it bounded on disk and serves it on `logs.sock`.
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { namePattern } from "@berth/contract/names.ts";
import { BerthError } from "../../core/errors.ts";
import { DockerApi } from "../../docker/api.ts";
import { parseEndpoint } from "../../docker/endpoint.ts";
import type { Ref } from "../../engines/engine.ts";
import type { ForgetLogsAnswer } from "../../engines/agent/protocol.ts";
import { listen, serve, type Call } from "../agent/http.ts";
import { onEnd, sendToPrimary } from "../messages.ts";
import { sayAs } from "../complaints.ts";
import { Collector } from "./collector.ts";
import { readCollectorConfig } from "./config.ts";
import { stampOf } from "./files.ts";
import { leave } from "../../os/leave.ts";
import { readLines, type Query } from "./query.ts";

const say = sayAs("collector");

const named = new RegExp(namePattern);

function queryOf(url: URL): Query {
  const { searchParams } = url;
  const [instance, tail, since, after] = ["instance", "tail", "since", "after"].map((key) => searchParams.get(key) ?? undefined);
  const cursor = after === undefined ? undefined : stampOf(after);
  if (after !== undefined && cursor === undefined) throw new BerthError("invalid_request", { reason: "that is no cursor of a log line" });
  const from = since === undefined ? undefined : Date.parse(since) * 1000 - 1;
  if (Number.isNaN(from)) throw new BerthError("invalid_request", { reason: "since is no instant" });
  const count = tail === undefined ? undefined : Number(tail);
  if (count !== undefined && !(Number.isSafeInteger(count) && count >= 0 && count <= 100_000))
    throw new BerthError("invalid_request", { reason: "tail is no number of lines" });
  const begin = Math.max(cursor ?? 0, from ?? 0);
  return {
    follow: searchParams.get("follow") === "true",
    resumed: cursor !== undefined,
    after: begin,
    ...(instance === undefined ? {} : { instance }),
    ...(count === undefined ? {} : { tail: count }),
  };
}

function refOf({ path: [, , stack = "", component = ""] }: Call): Ref {
  if (!named.test(stack) || !named.test(component))
    throw new BerthError("invalid_request", { reason: "stack and component have to be names" });
  return { stack, component };
}

async function sendLogs(collector: Collector, call: Call): Promise<"answered"> {
  const { request, response, url } = call;
  const ref = refOf(call);
  const query = queryOf(url);
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  request.resume();
  response.writeHead(200, { "content-type": "application/jsonl" });
  response.flushHeaders();
  // A follower gets them as they come; and who asks for all that a component wrote must not make floods of it be read at once.
  if (!query.follow && query.instance !== undefined) await collector.catchUp(ref, query.instance);
  const alive = query.follow ? setInterval(() => response.write("\n"), 10_000) : undefined;
  try {
    for await (const line of readLines(collector.store(ref), query, () => collector.newest(), gone.signal)) {
      if (!response.write(`${JSON.stringify(line)}\n`)) await drained(response, gone.signal);
    }
  } finally {
    clearInterval(alive);
  }
  response.end();
  return "answered";
}

/** Of a component, or of a whole stack. */
async function forgetLogs(collector: Collector, call: Call): Promise<ForgetLogsAnswer> {
  const [, , stack = "", component] = call.path;
  if (component !== undefined) return { forgotten: collector.forgetComponent(refOf(call)) };
  if (!named.test(stack)) throw new BerthError("invalid_request", { reason: "a stack has to be named" });
  return { forgotten: collector.forget(stack) };
}

function drained(response: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    response.once("drain", done);
    signal.addEventListener("abort", done, { once: true });
    if (signal.aborted) done();
  });
}

async function main(): Promise<void> {
  const config = readCollectorConfig(process.argv[2]);
  mkdirSync(config.runDir, { recursive: true });
  if (process.getuid?.() !== 0) chmodSync(config.runDir, 0o700);
  const { docker, tls } = config.agent;
  const daemon = docker === undefined ? undefined : new DockerApi(parseEndpoint(docker, tls));
  const collector = new Collector({ home: config.home, settings: config.collector, daemon, now: Date.now, say });
  const server = serve(
    (call) => {
      const [version, noun] = call.path;
      if (call.request.method === "GET" && version === "v1" && noun === "hello") return Promise.resolve({ pid: process.pid });
      if (call.request.method === "GET" && version === "v1" && noun === "logs") return sendLogs(collector, call);
      if (call.request.method === "DELETE" && version === "v1" && noun === "logs") return forgetLogs(collector, call);
      return Promise.reject(
        new BerthError("not_found", { kind: "path", name: call.url.pathname, hint: "The collector's socket is for the control plane." }),
      );
    },
    (error) => say("call failed", { error: String(error) }),
  );
  // The socket is the lock: two collectors would share out the lines of one pipe.
  await listen(server, join(config.runDir, "logs.sock"));
  collector.start();
  onEnd(() => {
    collector.close();
    daemon?.close();
    server.close();
    server.closeAllConnections();
    leave(0);
  });
  sendToPrimary({ type: "started" });
}

process.on("unhandledRejection", (error) => say("unhandled", { error: String(error) }));
main().catch((error: unknown) => {
  say("collector cannot start", { error: error instanceof Error ? error.message : String(error) });
  leave(1);
});
