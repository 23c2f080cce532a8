// `berth exec`: carries bytes between this terminal and a command in an instance, over the WebSocket of terminal.ts. The terminal is given back
// as it was, whatever happens.
import { ApiError } from "@berth/contract/client-errors.ts";
import { readTerminalControl, readTerminalFrame, terminalFrame, terminalProtocol, type TerminalControl } from "@berth/contract/terminal.ts";
import { WebSocket } from "ws";
import type { Context } from "../context.ts";
import { Failure, exitCodes } from "../failure.ts";
import { exitCode } from "../follow/task.ts";
import { sizeOr } from "../output/output.ts";
import { bytesOf, sendFrom, socketRefusal } from "./websocket.ts";

export interface ExecOptions {
  readonly instance: string | undefined;
  readonly cluster: string | undefined;
  readonly terminal: boolean;
}

/** Bytes that may wait to be sent before stdin is held back. */
const mostWaiting = 1_048_576;

/** The exit code of the command. */
export async function execute(ctx: Context, words: readonly string[], options: ExecOptions): Promise<number> {
  const api = await ctx.api();
  const size = terminalSize();
  const { url, headers } = api.openTerminal({
    params: await ctx.inComponent(),
    query: {
      command: JSON.stringify({ exec: words }),
      instance: options.instance,
      cluster: options.cluster,
      tty: options.terminal,
      ...(options.terminal ? size : {}),
    },
  });
  const socket = new WebSocket(url, terminalProtocol, { headers, perMessageDeflate: false, maxPayload: 16 * 1024 * 1024 });
  const end = listen(ctx, socket);
  const stop = await opened(socket, end.promise).then(() => (options.terminal ? attachTerminal(ctx, socket) : attachPipe(ctx, socket)));
  const hangUp = (): void => {
    socket.terminate();
  };
  ctx.signal.addEventListener("abort", hangUp);
  try {
    return await end.promise;
  } finally {
    ctx.signal.removeEventListener("abort", hangUp);
    stop();
    socket.terminate();
  }
}

/** Settles with the exit code, or fails with why there is none. */
function listen(ctx: Context, socket: WebSocket): { readonly promise: Promise<number> } {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let written: Promise<void> = Promise.resolve();
  const write = (channel: string, bytes: Uint8Array): void => {
    // In order, and no faster than the reader of our output takes it.
    written = written.then(() => (channel === "stderr" ? ctx.out.writeErr(bytes) : ctx.out.write(bytes)));
    if (socket.readyState === socket.OPEN) {
      socket.pause();
      void written.finally(() => {
        socket.resume();
      });
    }
  };
  const control = (message: TerminalControl | undefined): void => {
    if (message?.type === "error") reject(new ApiError(message.problem));
    if (message?.type === "exit")
      void written.finally(() => {
        resolve(exitCode(message.exitCode, message.signal) ?? exitCodes.failed);
      });
  };
  socket.on("message", (data, binary) => {
    const bytes = bytesOf(data);
    if (!binary) return control(readTerminalControl(bytes.toString("utf8")));
    const frame = readTerminalFrame(bytes);
    if (frame !== undefined) write(frame.channel, frame.bytes);
  });
  socketRefusal(socket).catch(reject);
  socket.on("close", () => {
    void written.finally(() => {
      reject(new Failure(exitCodes.failed, "The connection broke; the command was told to end.", { next: "Try again." }));
    });
  });
  return { promise };
}

function opened(socket: WebSocket, end: Promise<number>): Promise<void> {
  return Promise.race([
    new Promise<void>((resolve) => {
      socket.once("open", () => {
        resolve();
      });
    }),
    end.then(() => undefined),
  ]);
}

function send(socket: WebSocket, message: TerminalControl): void {
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message));
}

/** Keys go as they are typed, Ctrl-C too; the size follows the window. Answers how to give the terminal back. */
function attachTerminal(ctx: Context, socket: WebSocket): () => void {
  const { stdin } = ctx;
  const onKey = (bytes: Buffer): void => {
    if (socket.readyState === socket.OPEN) socket.send(terminalFrame("stdin", bytes));
  };
  const onResize = (): void => {
    send(socket, { type: "resize", ...terminalSize() });
  };
  if (stdin.isTTY === true) stdin.setRawMode?.(true);
  stdin.on("data", onKey).resume();
  process.stdout.on("resize", onResize);
  return () => {
    stdin.off("data", onKey).pause();
    process.stdout.off("resize", onResize);
    if (stdin.isTTY === true) stdin.setRawMode?.(false);
  };
}

/** What is piped in goes on until its end, held back while the connection is slow. */
function attachPipe(ctx: Context, socket: WebSocket): () => void {
  const { stdin } = ctx;
  // A terminal that nobody types into would keep the command waiting for an end that never comes; it still may.
  const onData = sendFrom(stdin, socket, mostWaiting, (piece) => terminalFrame("stdin", piece));
  const onEnd = (): void => {
    send(socket, { type: "eof" });
  };
  stdin.on("data", onData).on("end", onEnd).resume();
  return () => {
    stdin.off("data", onData).off("end", onEnd).pause();
  };
}

function terminalSize(): { columns: number; rows: number } {
  return { columns: Math.min(1000, sizeOr(process.stdout.columns, 80)), rows: Math.min(1000, sizeOr(process.stdout.rows, 24)) };
}
