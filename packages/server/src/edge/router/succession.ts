// What routers do when their primary dies: they go on serving, and one of them starts the next primary and hands it the listening sockets. So the death of a
// primary closes no connection and refuses none, also where nobody else would start it again.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { nodeFlags } from "../../core/hardened.ts";
import { niceSession } from "../../os/priority.ts";
import { writeTakeover } from "../primary/takeover.ts";
import type { Address, BoundSocket } from "../primary/sockets.ts";
import { identityLives, noteSuccessor, successorLives, textOf } from "../registry.ts";

/** ms that each router leaves the ones before it, and the shortest and longest pause between two tries. */
const courtesy = 400;
const pauses = { first: 1_000, most: 10_000 };

export interface SuccessionDeps {
  readonly runDir: string;
  readonly successor: { readonly entry: string; readonly configFile: string };
  /** 0: acts first. */
  readonly place: number;
  readonly router: Address;
  readonly sockets: () => readonly BoundSocket[];
  /** Instances that are ready: what the dead primary had not yet written down. */
  readonly ready: () => readonly string[];
  readonly now: () => number;
}

export class Succession {
  readonly #deps: SuccessionDeps;
  #nextTry: number;
  #pause = pauses.first;

  /** From the moment that the primary was missed. */
  constructor(deps: SuccessionDeps) {
    this.#deps = deps;
    this.#nextTry = deps.now() + deps.place * courtesy;
  }

  /** Called again and again until a primary is there. `end`: this edge is not wanted any more, its configuration is gone. */
  look(): "wait" | "end" {
    const { runDir, successor, now } = this.#deps;
    if (!existsSync(successor.configFile)) return "end";
    // Somebody has begun already.
    if (identityLives(textOf(join(runDir, "edge.lock"))) || successorLives(runDir) || now() < this.#nextTry) return "wait";
    this.#nextTry = now() + this.#pause + this.#deps.place * courtesy;
    this.#pause = Math.min(pauses.most, this.#pause * 2);
    this.#start();
    return "wait";
  }

  #start(): void {
    const { successor, sockets, ready, router } = this.#deps;
    const handed = sockets();
    const child = spawn(process.execPath, [...nodeFlags, successor.entry, successor.configFile, "--take-over"], {
      detached: true,
      stdio: ["pipe", "inherit", "inherit", "ignore", ...handed.map(({ handle }) => handle.fd)],
    });
    // One that cannot start is tried again after the pause.
    child.on("error", () => undefined);
    niceSession(child.pid, -10);
    child.unref();
    if (child.pid !== undefined) noteSuccessor(this.#deps.runDir, child.pid);
    if (child.stdin !== null) writeTakeover(child.stdin, { router, sockets: handed, ready: ready(), from: "router" });
  }
}
