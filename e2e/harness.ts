// A whole Berth for end-to-end tests: real server, edge, PostgreSQL and processes in a home of their own, spoken to through the typed client.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createClient, type Client } from "@berth/contract/client.ts";
import type { Deployment, PlanRequest, StackPlan } from "@berth/contract/resources/plans.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import tar from "tar-stream";

const run = promisify(execFile);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** The built program where there is one that is meant to be tested, else its source. */
function programOf(name: string, source: string): string {
  const built = join(root, "dist", `${name}.js`);
  return process.env["BERTH_TEST_BUILT"] === "1" && existsSync(built) ? built : join(root, "packages", source, "src", "main.ts");
}
export const serverProgram = programOf("server", "server");
/** Each home has its own otherwise, and is new in each test. */
const compiledCode = { NODE_COMPILE_CACHE: join(root, ".cache", "compiled") };
/** `berth`. */
export const commandProgram = programOf("berth", "cli");

/** What a service manager would run, before `server run`. */
export const serverCommand = (): readonly string[] => [process.execPath, serverProgram];

export type Files = Readonly<Record<string, string>>;
/** What a source consists of. */
export type Contents = Readonly<Record<string, string | Buffer>>;
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export class TestBerth {
  readonly home = mkdtempSync(join(tmpdir(), "be-"));
  /** The server's own program. */
  readonly program = serverProgram;
  readonly env: Readonly<Record<string, string>>;
  client!: Client;
  url = "";
  token = "";
  router: { host: string; port: number } = { host: "127.0.0.1", port: 0 };
  /** What stands before the command that starts the server, and with it everything else. */
  prefix: readonly string[] = [];

  /** `more`: environment of the server; `settings`: its config.json. */
  constructor(more: Record<string, string> = {}, settings?: object) {
    const { PATH = "/usr/bin:/bin", HOME = "/root" } = process.env;
    this.env = { PATH, HOME, LANG: "C.UTF-8", BERTH_HOME: this.home, BERTH_PORT: "0", BERTH_ROUTER_PORT: "0", ...compiledCode, ...more };
    if (settings !== undefined) writeFileSync(join(this.home, "config.json"), JSON.stringify(settings), { mode: 0o600 });
  }

  static async start(more: Record<string, string> = {}, settings?: object, prefix: readonly string[] = []): Promise<TestBerth> {
    const berth = new TestBerth(more, settings);
    berth.prefix = prefix;
    try {
      await berth.startServer();
      await berth.login();
      return berth;
    } catch (error) {
      await berth.stop();
      throw error;
    }
  }

  /** Runs the server's own command line. */
  async server(...args: string[]): Promise<string> {
    return (await run(process.execPath, [serverProgram, "server", ...args], { env: this.env, timeout: 150_000 })).stdout;
  }

  /** The same, whatever its end; `output` is both streams. */
  tryServer(...args: string[]): Promise<{ readonly code: number; readonly output: string }> {
    return new Promise((resolve) => {
      execFile(process.execPath, [serverProgram, "server", ...args], { env: this.env, timeout: 150_000 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, output: stdout + stderr });
      });
    });
  }

  /** `berth` as a user types it in a folder, signed in; `said` is both streams. `input`: what he pipes in. */
  async cli(args: readonly string[], cwd = this.home, input?: string): Promise<{ readonly code: number; readonly said: string }> {
    try {
      // What follows `--` is somebody else's.
      const end = args.includes("--") ? args.indexOf("--") : args.length;
      const own = [...args.slice(0, end), "--server", this.url, "--token", this.token, ...args.slice(end)];
      const running = run(process.execPath, [commandProgram, ...own], { env: this.env, cwd });
      if (input !== undefined) running.child.stdin?.end(input);
      const { stdout, stderr } = await running;
      return { code: 0, said: stdout + stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, said: stdout + stderr };
    }
  }

  /** What `berth forward` with these arguments leads to: one GET for each path, over the address that it says. Ends it as Ctrl-C does. */
  async throughForward(
    args: readonly string[],
    paths: readonly string[],
  ): Promise<{ readonly said: string; readonly answers: readonly string[]; readonly code: number | null }> {
    const child = spawn(process.execPath, [commandProgram, "forward", ...args, "--server", this.url, "--token", this.token], {
      env: this.env,
    });
    // With all that it said: its end alone may be heard before that.
    const ended = once(child, "close") as Promise<[number | null]>;
    let said = "";
    const hears = (piece: Buffer): void => void (said += piece.toString());
    child.stdout.on("data", hears);
    child.stderr.on("data", hears);
    try {
      const address = await until(
        () => Promise.resolve(/^(127\.0\.0\.1:\d+) -> /m.exec(said)?.[1] ?? (child.exitCode === null ? undefined : "none")),
        "berth forward to listen",
        60_000,
        () => said,
      );
      const answers =
        address === "none" ? [] : await Promise.all(paths.map(async (path) => (await fetch(`http://${address}${path}`)).text()));
      child.kill("SIGINT");
      const [code] = await ended;
      return { said, answers, code };
    } finally {
      child.kill("SIGKILL");
    }
  }

  async edge(...args: string[]): Promise<string> {
    return (await run(process.execPath, [serverProgram, "edge", ...args], { env: this.env, timeout: 150_000 })).stdout;
  }

  /** `program`: another build than the one that is tested. */
  async startServer(program = serverProgram): Promise<void> {
    const [command = process.execPath, ...args] = [...this.prefix, process.execPath, program, "server", "start"];
    await run(command, args, { env: this.env, timeout: 150_000 });
    const file = JSON.parse(readFileSync(join(this.home, "server.json"), "utf8")) as { url: string };
    this.url = file.url;
    this.client = createClient({ baseUrl: this.url, ...(this.token === "" ? {} : { token: this.token }) });
    const { routerUrl } = await this.client.showInstallation();
    this.router = { host: new URL(routerUrl).hostname, port: Number(new URL(routerUrl).port) };
  }

  /** To a server that somebody else starts: waits until it answers, and signs in. */
  async connect(url: string): Promise<void> {
    this.url = url;
    await until(
      async () => {
        try {
          if (!(await fetch(`${url}/readyz`)).ok) return undefined;
          await this.login();
          const { routerUrl } = await this.client.showInstallation();
          this.router = { host: new URL(routerUrl).hostname, port: Number(new URL(routerUrl).port) };
          return true;
        } catch {
          return undefined; // not yet
        }
      },
      `a server at ${url}`,
      120_000,
      () => this.log(),
    );
  }

  async login(): Promise<void> {
    const token = readFileSync(join(this.home, "admin-token"), "utf8").trim();
    this.token = (await createClient({ baseUrl: this.url }).login({ body: { token } })).token;
    this.client = createClient({ baseUrl: this.url, token: this.token });
  }

  serverPid(): number {
    return (JSON.parse(readFileSync(join(this.home, "server.json"), "utf8")) as { pid: number }).pid;
  }

  /** Stops the server, takes its database away, and begins with an empty one, signed in: what runs goes on meanwhile. */
  async loseDatabase(): Promise<void> {
    await this.server("stop");
    rmSync(join(this.home, "postgres"), { recursive: true });
    await this.beginEmpty();
  }

  /** With an empty database where the one before is lost. */
  async beginEmpty(): Promise<void> {
    await run(process.execPath, [this.program, "restore", "--empty", "--yes"], { env: this.env });
    await this.startServer();
    await this.login();
  }

  /** Ends everything and removes the home; the log is shown when the test wants to know more. */
  async stop(): Promise<void> {
    try {
      await this.server("stop", "--all");
    } finally {
      rmSync(this.home, { recursive: true, force: true, maxRetries: 5 });
    }
  }

  log(): string {
    const file = join(this.home, "logs", "server.log");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  /** The log's lines about requests that the server itself failed at: a correct one has none, whatever it was asked. */
  failedRequests(): string[] {
    return this.log()
      .split("\n")
      .filter((line) => line.includes("a request failed"));
  }

  async upload(stack: string, files: Contents): Promise<string> {
    const bytes = await archive(files);
    const source = await this.client.uploadSource({
      params: { stack },
      query: {},
      contentType: "application/x-tar",
      body: () => new Blob([new Uint8Array(bytes)]).stream(),
    });
    return source.digest;
  }

  /** What `berth up` does: plan, answer what it needs, apply. `contexts`: build context -> files. */
  async up(
    stack: string,
    project: Files,
    contexts?: Readonly<Record<string, Contents>>,
    more: Partial<PlanRequest> = {},
  ): Promise<Deployment> {
    const plan = await this.plan(stack, project, contexts, more);
    return this.client.applyPlan({ params: { stack, plan: plan.id }, body: {} });
  }

  /** A plan that is ready to be applied. */
  async plan(
    stack: string,
    project: Files,
    contexts: Readonly<Record<string, Contents>> = { ".": project },
    more: Partial<PlanRequest> = {},
  ): Promise<StackPlan> {
    let request: PlanRequest = { files: {}, absent: [], composeFiles: [], variables: {}, profiles: [], sources: {}, ...more };
    for (let round = 0; round < 10; round += 1) {
      const plan = await this.client.createPlan({ params: { stack }, body: request });
      if (plan.status === "ready") return plan;
      const sources: Record<string, string> = {};
      for (const context of plan.contexts) sources[context] = await this.upload(stack, contexts[context] ?? {});
      request = {
        ...request,
        sources: { ...request.sources, ...sources },
        variables: { ...request.variables, ...Object.fromEntries(plan.variables.map((name) => [name, null])) },
        files: {
          ...request.files,
          ...Object.fromEntries(
            plan.files.flatMap((name) => {
              const text = project[name];
              return text === undefined ? [] : [[name, text]];
            }),
          ),
        },
        absent: [...request.absent, ...plan.files.filter((name) => !(name in project))],
      };
    }
    throw new Error("the plan never became ready");
  }

  /** The rollout once it has ended. */
  async ended(stack: string, component: string, rollout: number, within = 120_000): Promise<Rollout> {
    return until(
      async () => {
        const found = await this.client.showRollout({ params: { stack, component, rollout } });
        return found.endedAt === undefined ? undefined : found;
      },
      `rollout ${rollout} of ${component} to end`,
      within,
      () => this.log(),
    );
  }

  /** Deploys and waits until every rollout has succeeded. */
  async deployed(stack: string, project: Files, contexts?: Readonly<Record<string, Contents>>): Promise<Rollout[]> {
    const made = await this.up(stack, project, contexts);
    const ended = await Promise.all(made.rollouts.map((rollout) => this.ended(stack, rollout.component, rollout.number)));
    const bad = ended.find((rollout) => rollout.phase !== "succeeded");
    if (bad !== undefined) throw new Error(`rollout of ${bad.component} ${bad.phase}: ${JSON.stringify(bad.cause)}`);
    return ended;
  }

  /** Through the router, as a browser would: the name in the Host header, the connection to the router's address. */
  get(host: string, path = "/", headers: Record<string, string> = {}): Promise<Answer> {
    return getThrough(this.router, host, path, headers);
  }
}

/** Through any door; `agent: false` has a connection of its own. */
export function getThrough(
  { host: name, port, ...how }: { readonly host: string; readonly port: number | string; readonly agent?: false },
  host: string,
  path: string,
  headers: Record<string, string>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ ...how, host: name, port, path, headers: { host, ...headers } }, (response) => {
      const chunks: Buffer[] = [];
      response
        .on("data", (chunk: Buffer) => chunks.push(chunk))
        .on("error", reject)
        .on("end", () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString("utf8") });
        });
    });
    request.on("error", reject).end();
  });
}

/** Waits for a condition; fails with what was waited for. */
export async function until<T>(
  look: () => Promise<T | undefined>,
  what: string,
  within = 60_000,
  evidence: () => string = () => "",
  period = 50,
): Promise<T> {
  const end = Date.now() + within;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`waited ${within} ms for ${what}\n${evidence().split("\n").slice(-15).join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, period));
  }
}

export async function archive(files: Contents): Promise<Buffer> {
  const pack = tar.pack();
  for (const [name, text] of Object.entries(files)) pack.entry({ name }, text);
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Load through the router until stopped; counts what was answered and what was not. */
export function startLoad(
  berth: { get(host: string, path?: string): Promise<{ readonly status: number; readonly body: string }> },
  host: string,
  path = "/",
  workers = 4,
): { count(): number; stop(): Promise<{ requests: number; failed: string[] }> } {
  let stopped = false;
  let requests = 0;
  const failed: string[] = [];
  const work = async (): Promise<void> => {
    while (!stopped) {
      try {
        const answer = await berth.get(host, path);
        if (answer.status !== 200) failed.push(`${answer.status} ${answer.body.slice(0, 100)}`);
      } catch (error) {
        failed.push(String(error));
      }
      requests += 1;
    }
  };
  const running = Array.from({ length: workers }, work);
  return {
    count: () => requests,
    async stop() {
      stopped = true;
      await Promise.all(running);
      return { requests, failed };
    },
  };
}

export function isAlive(pid: number): boolean {
  try {
    // Not by a signal: those of other users take none from an ordinary user.
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch (error) {
    if (["ESRCH", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

/** A web component in Node.js without dependencies; `version` is in its answer. */
export const webApp = (version: string, more = ""): Files => ({
  "package.json": JSON.stringify({ name: "web", scripts: { start: "node server.js" } }),
  "server.js": `const http = require("http");
const server = http.createServer((request, response) => {
  if (request.url === "/env") return response.end(JSON.stringify(process.env));
  if (request.url === "/slow") return setTimeout(() => response.end("slow"), 1500);
  response.end("${version} " + process.env.BERTH_INSTANCE);
});
${more}
server.listen(process.env.PORT, () => console.log("listening on " + process.env.PORT));
process.on("SIGTERM", () => { console.log("stopping"); server.close(() => process.exit(0)); server.closeIdleConnections(); });
`,
});
