// Interactive commands beside an instance: same user, sandbox, limits, folder, environment and volumes. With a terminal by a pseudo-terminal, otherwise by pipes.
// A session ends with its connection, and with the agent: it is for people who watch.
import { spawn } from "node:child_process";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { Command } from "@berth/contract/spec.ts";
import { namePattern } from "@berth/contract/names.ts";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";
import { encodeFrame, FrameReader, frameTypes } from "../../engines/agent/protocol.ts";
import { systemPath } from "../../sandbox/bubblewrap.ts";
import { errorCode, errorText } from "./files.ts";
import { besideCommand } from "./launch.ts";
import type { Supervisor } from "./supervisor.ts";

const name = Type.String({ pattern: namePattern });
const Size = Type.Object({ columns: Type.Integer({ minimum: 1, maximum: 10_000 }), rows: Type.Integer({ minimum: 1, maximum: 10_000 }) });
const Start = Type.Object({
  ref: Type.Object({ stack: name, component: name }),
  instance: Type.String(),
  command: Command,
  tty: Type.Optional(Size),
});
export type Size = Static<typeof Size>;
/** What is to be run where. */
export type SessionStart = Static<typeof Start>;

/** What runs on the other side of the connection. */
export interface Running {
  write(data: Buffer): void;
  endInput(): void;
  resize(size: Size): void;
  kill(): void;
}
export interface SessionEvents {
  readonly output: (type: typeof frameTypes.stdout | typeof frameTypes.stderr, data: Uint8Array) => void;
  readonly exit: (exit: { exitCode?: number; signal?: string; error?: string }) => void;
}
/** Begins it. Rejects with what the user is told. Output waits while the socket is full. */
export type BeginSession = (start: SessionStart, events: SessionEvents, socket: Duplex) => Promise<Running>;

/** `GET /v1/exec` with `Upgrade: berth-exec`; the first frame (`start`) says what to run. */
export function acceptExec(beginSession: BeginSession, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  socket.on("error", () => socket.destroy());
  if (request.headers.upgrade !== "berth-exec" || request.url !== "/v1/exec") {
    socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: berth-exec\r\n\r\n");
  const reader = new FrameReader();
  let running: Promise<Running> | undefined;
  const events: SessionEvents = {
    output: (type, data) => {
      if (socket.writable) socket.write(encodeFrame(type, data));
    },
    exit: (exit) => {
      if (socket.writable) socket.end(encodeFrame(frameTypes.exit, Buffer.from(JSON.stringify(exit))));
    },
  };
  const fail = (error: unknown): void => events.exit({ error: errorText(error) });
  const take = (chunk: Buffer): void => {
    try {
      for (const frame of reader.push(chunk)) {
        if (frame.type === frameTypes.start) {
          running ??= begin(beginSession, frame.payload, events, socket);
          running.catch(fail);
        } else
          void running?.then(
            (one) => handle(one, frame.type, frame.payload),
            () => undefined,
          );
      }
    } catch (error) {
      fail(error);
    }
  };
  socket.on("data", take);
  socket.on("end", () => socket.end());
  // Nobody is there any more: what they started must not go on unseen.
  socket.on(
    "close",
    () =>
      void running?.then(
        (one) => one.kill(),
        () => undefined,
      ),
  );
  if (head.length > 0) take(head);
}

function handle(running: Running, type: number, payload: Buffer): void {
  if (type === frameTypes.stdin) running.write(Buffer.from(payload));
  else if (type === frameTypes.stdinEnd) running.endInput();
  else if (type === frameTypes.resize) {
    const size: unknown = JSON.parse(payload.toString("utf8"));
    if (Value.Check(Size, size)) running.resize(size);
  }
}

async function begin(beginSession: BeginSession, payload: Buffer, events: SessionEvents, socket: Duplex): Promise<Running> {
  const start: unknown = JSON.parse(payload.toString("utf8"));
  if (!Value.Check(Start, start)) throw new RangeError("the start of the session is not valid");
  return beginSession(start, events, socket);
}

/** Sessions beside the processes of this machine. */
export function besideProcesses(supervisor: Supervisor): BeginSession {
  return async (start, events, socket) => {
    const instance = supervisor.find(start.ref, start.instance);
    if (instance === undefined) throw new RangeError(`there is no instance ${start.instance}`);
    const program = await instance.program(start.command, false);
    // A terminal of this side has no name inside a sandbox, and ^C would end what leads into it: there the program gets one of its own, behind this one.
    const command = besideCommand({ ...program, tty: start.tty !== undefined && program.view !== undefined }, instance.beside());
    return start.tty === undefined ? withPipes(command, events, socket) : withTerminal(command, start.tty, events, socket);
  };
}

async function withTerminal(
  [command = "", ...args]: readonly string[],
  size: Size,
  events: SessionEvents,
  socket: Duplex,
): Promise<Running> {
  // Loaded when first needed: without its native part everything else still works.
  const { spawn: spawnTerminal } = await import("@lydell/node-pty");
  const terminal = spawnTerminal(command, args, {
    name: "xterm-256color",
    cols: size.columns,
    rows: size.rows,
    cwd: "/",
    env: { PATH: systemPath, TERM: "xterm-256color" },
    encoding: null,
  });
  terminal.onData((data) => {
    events.output(frameTypes.stdout, typeof data === "string" ? Buffer.from(data) : data);
    if (socket.writableNeedDrain) {
      terminal.pause();
      socket.once("drain", () => terminal.resume());
    }
  });
  const typed = new StringDecoder("utf8");
  let ended = false;
  terminal.onExit(({ exitCode, signal }) => {
    ended = true;
    events.exit(signal === undefined || signal === 0 ? { exitCode } : { signal: `signal ${signal}` });
  });
  return {
    write: (data) => {
      if (!ended) terminal.write(typed.write(data));
    },
    // A terminal has no end of input; ^D is how people send it.
    endInput: () => {
      if (!ended) terminal.write("\u0004");
    },
    resize: ({ columns, rows }) => {
      if (!ended) terminal.resize(columns, rows);
    },
    kill: () => {
      if (!ended) killSession(terminal.pid);
    },
  };
}

function withPipes([command = "", ...args]: readonly string[], events: SessionEvents, socket: Duplex): Running {
  const child = spawn(command, args, { cwd: "/", env: { PATH: systemPath }, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  // Told of by its end; where no more files can be opened there is nothing else of it.
  child.on("error", () => undefined);
  let ended = false;
  for (const [stream, type] of [
    [child.stdout, frameTypes.stdout],
    [child.stderr, frameTypes.stderr],
  ] as const) {
    stream.on("data", (data: Buffer) => {
      for (let at = 0; at < data.length; at += 65_536) events.output(type, data.subarray(at, at + 65_536));
      if (socket.writableNeedDrain) {
        stream.pause();
        socket.once("drain", () => stream.resume());
      }
    });
  }
  child.stdin.on("error", () => undefined);
  child.once("error", (error) => events.exit({ error: error.message }));
  child.once("close", (code, signal) => {
    ended = true;
    events.exit(signal === null ? { exitCode: code ?? 0 } : { signal });
  });
  return {
    write: (data) => {
      if (child.stdin.writable) child.stdin.write(data);
    },
    endInput: () => child.stdin.end(),
    resize: () => undefined,
    kill: () => {
      if (!ended && child.pid !== undefined) killSession(child.pid);
    },
  };
}

/** The session's own group: the hang-up that a closed terminal sends, then the end. */
function killSession(pid: number): void {
  for (const signal of ["SIGHUP", "SIGKILL"] as const) {
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if (errorCode(error) !== "ESRCH") throw error;
    }
  }
}
