// One primary gives its place to the next without a refused or broken connection: the old one starts the new one with its listening sockets, lets go of everything
// else when that one is ready, and takes it back when that one fails. Routers accept all the time; their last primary is the one that retires them.
import { spawn, type ChildProcess } from "node:child_process";
import process from "node:process";
import { nodeFlags } from "../../core/hardened.ts";
import { niceSession } from "../../os/priority.ts";
import type { MetricsSnapshot, Program } from "../ipc.ts";
import type { Address, BoundSocket } from "./sockets.ts";
import { writeTakeover } from "./takeover.ts";

/** What only the old primary's memory has. */
export interface Inheritance {
  readonly ready: readonly string[];
  readonly counted: MetricsSnapshot;
}
type ToSuccessor = { readonly type: "go" } & Inheritance;
type FromSuccessor = { readonly type: "prepared" | "serving" };

/** ms for a program to come up, and then for its routers to accept. */
const patience = 30_000;

export interface HandoverDeps {
  readonly program: Program;
  readonly configFile: string;
  readonly router: Address;
  readonly sockets: readonly BoundSocket[];
  readonly ready: readonly string[];
  /** Lets go of lock, sockets and children; nothing is decided here from now on. */
  readonly letGo: () => Promise<Inheritance>;
}

/** Resolves when the next primary's routers accept. Throws when it cannot take over; `letGo` was called then or not, and what it let go of has to be taken back. */
export async function handOver({ program, configFile, router, sockets, ready, letGo }: HandoverDeps): Promise<void> {
  const child = spawn(program.node, [...nodeFlags, program.entry, configFile, "--take-over"], {
    detached: true,
    stdio: ["pipe", "inherit", "inherit", "ipc", ...sockets.map(({ handle }) => handle.fd)],
  });
  niceSession(child.pid, -10);
  const ended = new Promise<never>((_resolve, reject) => {
    child.once("error", (error) => {
      reject(new Error(`the next edge cannot be started: ${error.message}`));
    });
    child.once("exit", (code, signal) => {
      reject(new Error(`the next edge ended (${signal ?? `exit code ${String(code)}`}); its log says why`));
    });
  });
  // Awaited in turns; between them its end must not be an unhandled rejection.
  ended.catch(() => undefined);
  try {
    if (child.stdin !== null) writeTakeover(child.stdin, { router, sockets, ready, from: "primary" });
    await Promise.race([heard(child, "prepared"), ended, late("come up")]);
    const order: ToSuccessor = { type: "go", ...(await letGo()) };
    child.send(order, () => undefined);
    await Promise.race([heard(child, "serving"), ended, late("put its routers to work")]);
    child.disconnect();
    child.unref();
  } catch (error) {
    child.kill("SIGKILL");
    // It may hold the lock already, and does so as long as it lives.
    await ended.catch(() => undefined);
    throw error;
  }
}

function heard(child: ChildProcess, type: FromSuccessor["type"]): Promise<void> {
  return new Promise((resolve) => {
    child.on("message", (message: FromSuccessor) => {
      if (message.type === type) resolve();
    });
  });
}

function late(what: string): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => {
      reject(new Error(`the next edge did not ${what} within ${String(patience / 1000)} s`));
    }, patience).unref();
  });
}

/** The new primary's side. Resolves when the old one has let go; rejects when it died before. */
export function takeOver(): Promise<Inheritance> {
  return new Promise((resolve, reject) => {
    const lost = (): void => {
      reject(new Error("the edge before this one ended in the middle of handing over"));
    };
    process.once("disconnect", lost);
    process.once("message", (message: ToSuccessor) => {
      process.off("disconnect", lost);
      resolve(message);
    });
    say({ type: "prepared" });
  });
}

/** Routers of this primary accept: those of the old one may leave it. */
export function sayServing(): void {
  say({ type: "serving" });
}

function say(message: FromSuccessor): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}
