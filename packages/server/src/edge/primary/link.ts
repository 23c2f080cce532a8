// How the primary speaks with a router: over the IPC channel of a child of its own, or over a socket with one that an earlier primary started.
import { fork } from "node:child_process";
import { createServer, type Server, type Socket } from "node:net";
import { nodeFlags, routerFlags } from "../../core/hardened.ts";
import { routerEnvironment } from "../config.ts";
import type { FromRouter, RouterRole, ToRouter } from "../ipc.ts";
import { onLines } from "../../os/lines.ts";
import type { SocketHandle } from "./sockets.ts";

export interface Link {
  readonly pid: number | undefined;
  readonly connected: boolean;
  /** A handle goes to children only. */
  send(message: ToRouter, handle?: SocketHandle): void;
  kill(): void;
  /** Lets a child of ours go on without us. */
  leave(): void;
}

export interface LinkEvents {
  readonly onMessage: (message: FromRouter) => void;
  readonly onError: (error: Error) => void;
  readonly onEnd: (code: number | null, signal: string | null) => void;
}

/** `hear` has to be called in the same turn: what is said before is lost. */
export function forkRouter(file: string): Link & { hear(events: LinkEvents): void } {
  const child = fork(file, [], {
    execArgv: [...nodeFlags, ...routerFlags],
    env: routerEnvironment(),
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  return {
    hear: (events) => {
      child
        .on("message", (message: FromRouter) => {
          events.onMessage(message);
        })
        .on("error", (error) => {
          events.onError(error);
          // It never began, and has no end of its own.
          if (child.pid === undefined) events.onEnd(null, null);
        })
        .once("exit", events.onEnd);
    },
    get pid() {
      return child.pid;
    },
    get connected() {
      return child.connected;
    },
    send: (message, handle) => {
      if (child.connected) child.send(message, handle as never, {}, () => undefined);
    },
    kill: () => {
      child.kill("SIGKILL");
    },
    leave: () => {
      child.removeAllListeners();
      if (child.connected) child.disconnect();
      child.unref();
    },
  };
}

export interface Greeting {
  readonly pid: number;
  readonly role: RouterRole;
}

/** Waits on `routers.sock` for routers of earlier primaries. `onRouter` is called with each that greets; its answer hears what it says. */
export function listenForRouters(onRouter: (greeting: Greeting, link: Link) => LinkEvents): Server {
  return createServer((socket) => {
    let events: LinkEvents | undefined;
    socket.on("error", () => socket.destroy());
    onLines(socket, (line) => {
      const message = JSON.parse(line) as FromRouter;
      if (message.type === "orphan") events ??= onRouter({ pid: message.pid, role: message.role }, socketLink(message.pid, socket));
      else events?.onMessage(message);
    });
    socket.once("close", () => {
      events?.onEnd(null, null);
    });
  });
}

function socketLink(pid: number, socket: Socket): Link {
  return {
    pid,
    get connected() {
      return !socket.destroyed && socket.writable;
    },
    send: (message) => {
      if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
    },
    kill: () => {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended already, which is what was asked for.
      }
      socket.destroy();
    },
    leave: () => {
      socket.destroy();
    },
  };
}
