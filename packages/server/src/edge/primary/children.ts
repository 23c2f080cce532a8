// A child process of the primary that must always run: started again when it dies, with a growing pause, until it is told to stop.
import { fork, type ChildProcess } from "node:child_process";
import { nodeFlags } from "../../core/hardened.ts";
import { childMessage, type ChildMessage, type PrimaryMessage } from "../messages.ts";

/** ms: the first pause, the longest one, and how long a child must have lived for the pause to start anew: one that fails does so at its start, and while there is no agent nothing is healed. */
const backoff = { first: 100, most: 10_000, reset: 5_000 };

/** The pause before the next start, given the last pause and how long the child lived. */
export function nextPause(last: number, livedFor: number): number {
  return livedFor >= backoff.reset ? backoff.first : Math.min(backoff.most, Math.max(backoff.first, last * 2));
}

export interface ChildDeps {
  readonly file: string;
  readonly args: readonly string[];
  readonly onMessage: (message: ChildMessage) => void;
  readonly onExit: (how: string) => void;
}

export class SupervisedChild {
  readonly #deps: ChildDeps;
  #process: ChildProcess | undefined;
  #pause = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(deps: ChildDeps) {
    this.#deps = deps;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  start(): void {
    this.#stopping = false;
    const startedAt = performance.now();
    const endedWith = (how: string): void => {
      this.#process = undefined;
      this.#deps.onExit(how);
      if (this.#stopping) return;
      this.#pause = nextPause(this.#pause, performance.now() - startedAt);
      this.#timer = setTimeout(() => {
        this.start();
      }, this.#pause);
    };
    let child: ChildProcess;
    try {
      child = fork(this.#deps.file, [...this.#deps.args], { execArgv: [...nodeFlags], stdio: ["ignore", "inherit", "inherit", "ipc"] });
    } catch (error) {
      // The machine has no room for it now.
      endedWith(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#process = child;
    child.on("message", (value) => {
      const message = childMessage(value);
      if (message !== undefined) this.#deps.onMessage(message);
    });
    let gone = false;
    const ended = (how: string): void => {
      if (gone) return;
      gone = true;
      endedWith(how);
    };
    child.once("error", (error) => {
      ended(error.message);
    });
    child.once("exit", (code, signal) => {
      ended(signal ?? `exit code ${String(code)}`);
    });
  }

  /** Asks it to end; after `grace` ms it is killed. Resolves when it is gone. */
  async stop(grace: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#process;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => {
      child.once("exit", () => {
        resolve();
      });
    });
    const order: PrimaryMessage = { type: "shutdown" };
    if (child.connected) child.send(order, () => undefined);
    const killer = setTimeout(() => {
      child.kill("SIGKILL");
    }, grace);
    await gone;
    clearTimeout(killer);
  }
}
