// A home folder with a real agent and a real collector for tests, and programs to run in it. Everything that it started is gone afterwards.
import { spawnSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { zstdCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import { plainWorkload } from "../../../engines/conformance/workload.ts";
import type { LogLine, LogOptions, Ref, Workload } from "../../../engines/engine.ts";
import { LocalEngine } from "../../../engines/local/engine.ts";
import { livingStat } from "../../../os/process.ts";
import { Cgroups } from "../../../sandbox/cgroups.ts";
import { AgentProcesses, until, type AgentProcess } from "../../testing/agent-processes.ts";
import { EngineLab, installation, never } from "../../testing/engine-lab.ts";
import { edgeProgram } from "../../testing/programs.ts";
import { ProcessTable, signalAll } from "../procfs.ts";
import { readSpec } from "../record.ts";

export { installation, never, until };
export const isRoot = process.getuid?.() === 0;
const entries = { agent: edgeProgram("edge-agent"), collector: edgeProgram("edge-collector") };

export interface LabOptions {
  readonly agent?: Readonly<Record<string, unknown>>;
  readonly collector?: Readonly<Record<string, unknown>>;
  /** Runs the Berth processes as an ordinary user (the tests are root). */
  readonly asUser?: number;
  readonly withoutCollector?: boolean;
}

export class Lab extends EngineLab implements AsyncDisposable {
  readonly home: string;
  readonly engine: LocalEngine;
  readonly blobs = new Map<string, Buffer>();
  readonly #options: LabOptions;
  readonly #processes: AgentProcesses;

  private constructor(home: string, options: LabOptions) {
    super();
    this.home = home;
    this.#options = options;
    this.#processes = new AgentProcesses(home, entries, options.asUser);
    this.engine = new LocalEngine({
      home,
      agentSocket: join(home, "run", "agent.sock"),
      logsSocket: join(home, "run", "logs.sock"),
      cluster: "local",
      openBlob: (digest) => {
        const bytes = this.blobs.get(digest);
        return bytes === undefined
          ? Promise.reject(new Error("no such blob"))
          : Promise.resolve(Readable.from([bytes], { objectMode: false }));
      },
    });
  }

  static async open(options: LabOptions = {}): Promise<Lab> {
    const home = await mkdtemp(join(tmpdir(), "berth-lab-"));
    const lab = new Lab(home, options);
    mkdirSync(join(home, "run"));
    if (options.asUser !== undefined) for (const path of [home, join(home, "run")]) chownSync(path, options.asUser, options.asUser);
    writeFileSync(
      join(home, "edge.json"),
      JSON.stringify({ home, runDir: join(home, "run"), installation, agent: options.agent ?? {}, collector: options.collector ?? {} }),
      { mode: 0o644 },
    );
    chmodSync(join(home, "edge.json"), 0o644);
    try {
      await lab.up("agent");
      if (options.withoutCollector !== true) await lab.up("collector");
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  up(name: AgentProcess): Promise<void> {
    return this.#processes.up(name);
  }

  kill(name: AgentProcess, signal?: NodeJS.Signals): Promise<void> {
    return this.#processes.kill(name, signal);
  }

  answers(name: AgentProcess, path: string): Promise<boolean> {
    return this.#processes.answers(name, path);
  }

  get processes(): AgentProcesses["running"] {
    return this.#processes.running;
  }

  get complaints(): string {
    return this.#processes.complaints;
  }

  /** What the agent told about readiness, oldest first. */
  get readiness(): AgentProcesses["readiness"] {
    return this.#processes.readiness;
  }

  /** A stored bundle with these files; names that end in `.sh` or lie in `bin/` are executable. */
  async bundle(files: Readonly<Record<string, string>>): Promise<string> {
    const archive = pack();
    for (const [name, text] of Object.entries(files))
      archive.entry({ name, mode: name.endsWith(".sh") || name.startsWith("bin/") ? 0o755 : 0o644 }, text);
    archive.finalize();
    const bytes = zstdCompressSync(await buffer(archive));
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    this.blobs.set(digest, bytes);
    return digest;
  }

  async workload(files: Readonly<Record<string, string>>, over: Partial<Workload> = {}): Promise<Workload> {
    const digest = await this.bundle({ README: "a bundle is never empty", ...files });
    return plainWorkload(digest, { kind: "web", artifact: { kind: "bundle", digest }, command: { exec: ["/bin/sh", "run.sh"] } }, over);
  }

  protected override async prepared(): Promise<void> {
    // In the product client and agent are the same user; here the client is the tests' root.
    const { asUser } = this.#options;
    if (asUser !== undefined) spawnSync("chown", ["-R", `${asUser}:${asUser}`, join(this.home, "stacks")]);
  }

  async logs(options: Partial<LogOptions> = {}, ref: Ref = { stack: "shop", component: "web" }): Promise<LogLine[]> {
    const lines: LogLine[] = [];
    for await (const line of this.engine.logs(ref, { follow: false, ...options }, never)) lines.push(line);
    return lines;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The agent first, so that nothing starts again; then every process that carries the mark of an instance of this home.
    await this.kill("agent");
    for (const folder of ["instances", "tasks"]) {
      const dir = join(this.home, "edge", folder);
      for (const id of existsSync(dir) ? readdirSync(dir) : []) {
        const table = new ProcessTable();
        const spec = readSpec(join(dir, id, "spec.json"));
        if (spec !== undefined) signalAll(table.membersOf(undefined, id), "SIGKILL");
        signalAll(
          table.all.filter((one) => shimOf(one.pid, join(dir, id))),
          "SIGKILL",
        );
      }
    }
    await this.kill("collector");
    const groups = Cgroups.open(this.home, "instances");
    // What was about to become a program had no mark yet; and the kernel clears up after the last process in its own time.
    const clear = (all: Cgroups): boolean => {
      const pids = all.list().flatMap((name) => all.group(name).members());
      signalAll(
        pids.flatMap((pid) => livingStat(pid) ?? []),
        "SIGKILL",
      );
      return all.close();
    };
    if (groups !== undefined) await until(() => clear(groups), "no control group is left", 60_000);
    await this.engine.close();
    await rm(this.home, { recursive: true, force: true, maxRetries: 5 });
  }
}

function shimOf(pid: number, dir: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(dir);
  } catch {
    // Ended meanwhile.
    return false;
  }
}

export const uniqueName = (prefix: string): string => `${prefix}-${randomUUID().slice(0, 8)}`;

/** An HTTP server that answers its release and environment; knows `/exit?code=`, `/slow`. */
export const webProgram = `
import { createServer } from "node:http";
createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  if (url.pathname === "/exit") process.exit(Number(url.searchParams.get("code")));
  response.end(JSON.stringify({ env: process.env, pid: process.pid, cwd: process.cwd(), uid: process.getuid() }));
}).listen(process.env.PORT, "127.0.0.1", () => console.log("listening on " + process.env.PORT));
`;
