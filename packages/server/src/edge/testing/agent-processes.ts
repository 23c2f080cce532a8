// Real agent and collector processes over a test's own home folder.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { childMessage, type ReadinessMessage } from "../messages.ts";

/** Waits for a condition; the label says what did not happen. */
export async function until<T>(
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  label: string,
  timeout = 30_000,
): Promise<T> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`did not happen: ${label}`);
    await sleep(20);
  }
}

export type AgentProcess = "agent" | "collector";

export class AgentProcesses {
  readonly home: string;
  readonly #entries: Readonly<Record<AgentProcess, string>>;
  readonly #asUser: number | undefined;
  readonly #inside: readonly string[];
  readonly running = new Map<AgentProcess, ChildProcess>();
  /** What they had to say. */
  complaints = "";
  /** What the agent told about readiness, oldest first. */
  readonly readiness: ReadinessMessage[] = [];

  /** `home` holds `edge.json` and the folder `run`. `asUser`: they run as an ordinary user (the tests are root). `inside`: what stands before their command lines. */
  constructor(home: string, entries: Readonly<Record<AgentProcess, string>>, asUser?: number, inside: readonly string[] = []) {
    this.home = home;
    this.#entries = entries;
    this.#asUser = asUser;
    this.#inside = inside;
  }

  async up(name: AgentProcess): Promise<void> {
    const asUser = this.#asUser;
    const command = [process.execPath, this.#entries[name], join(this.home, "edge.json")];
    const drop = asUser === undefined ? [] : ["setpriv", `--reuid=${asUser}`, `--regid=${asUser}`, "--clear-groups", "--"];
    const [file = "", ...args] = [...this.#inside, ...drop, ...command];
    const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe", "ipc"], env: { PATH: "/usr/bin:/bin", HOME: this.home } });
    this.running.set(name, child);
    // As the primary does: a child whose parent is gone ends, also when a test is cut short.
    child.on("message", (value) => {
      const message = childMessage(value);
      if (message?.type === "readiness") this.readiness.push(message);
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.complaints += text;
    });
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(`${name} ended: ${this.complaints}`);
        return this.answers(name, "/v1/hello");
      },
      `${name} answers`,
      60_000,
    );
  }

  answers(name: AgentProcess, path: string): Promise<boolean> {
    const socketPath = join(this.home, "run", name === "agent" ? "agent.sock" : "logs.sock");
    if (!existsSync(socketPath)) return Promise.resolve(false);
    return new Promise((resolve) => {
      const ask = request({ socketPath, path }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      ask.once("error", () => resolve(false));
      ask.end();
    });
  }

  async kill(name: AgentProcess, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.running.get(name);
    this.running.delete(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }
}
