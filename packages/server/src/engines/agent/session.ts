// The control plane's end of an exec session: frames over an upgraded connection to the agent, seen as a stream.
import { request } from "node:http";
import { Duplex } from "node:stream";
import type { Socket } from "node:net";
import { BerthError } from "../../core/errors.ts";
import type { Session } from "../engine.ts";
import { encodeFrame, FrameReader, frameTypes, protocolHeader, protocolVersion, type ExecRequest } from "./protocol.ts";

interface ExitFrame {
  readonly exitCode?: number;
  readonly signal?: string;
  readonly error?: string;
}

/**
 * Begins a session. Reading gives what the command writes (with a terminal: everything; without: stdout and stderr in the order of their arrival);
 * writing gives it input, ending it closes that input. Destroying the stream ends the command. Rejects when the agent does not answer.
 */
export function openSession(socketPath: string, start: ExecRequest, signal: AbortSignal): Promise<Session> {
  return new Promise((resolve, reject) => {
    const ask = request({
      socketPath,
      path: "/v1/exec",
      headers: { connection: "Upgrade", upgrade: "berth-exec", [protocolHeader]: protocolVersion },
      signal,
    });
    ask.once("error", reject);
    ask.once("response", (response) => {
      response.resume();
      reject(
        new BerthError("wrong_state", {
          verb: "exec",
          reason: `the agent answered ${response.statusCode ?? 0}`,
          hint: "Restart the edge with this version of Berth.",
        }),
      );
    });
    ask.once("upgrade", (_response, socket, head) => resolve(sessionOver(socket as Socket, head, start)));
    ask.end();
  });
}

function sessionOver(socket: Socket, head: Buffer, start: ExecRequest): Session {
  const reader = new FrameReader();
  const exit = Promise.withResolvers<{ exitCode?: number; signal?: string }>();
  // Whoever only reads the stream must not be ended by an exit that nobody asked for.
  exit.promise.catch(() => undefined);
  const stream = new Duplex({
    read() {
      socket.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      for (let at = 0; at < chunk.length; at += 65_536) socket.write(encodeFrame(frameTypes.stdin, chunk.subarray(at, at + 65_536)));
      if (socket.writableNeedDrain) socket.once("drain", () => done());
      else done();
    },
    final(done) {
      socket.write(encodeFrame(frameTypes.stdinEnd, Buffer.alloc(0)));
      done();
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  const finish = (frame: ExitFrame): void => {
    if (frame.error === undefined)
      exit.resolve({
        ...(frame.exitCode === undefined ? {} : { exitCode: frame.exitCode }),
        ...(frame.signal === undefined ? {} : { signal: frame.signal }),
      });
    else
      exit.reject(
        new BerthError("wrong_state", { verb: "exec", reason: frame.error, hint: "`berth status` shows the instances there are." }),
      );
    stream.push(null);
  };
  const take = (chunk: Buffer): void => {
    for (const frame of reader.push(chunk)) {
      if (frame.type === frameTypes.exit) finish(JSON.parse(frame.payload.toString("utf8")) as ExitFrame);
      else if ((frame.type === frameTypes.stdout || frame.type === frameTypes.stderr) && !stream.push(Buffer.from(frame.payload)))
        socket.pause();
    }
  };
  // It may break before whoever asked for it has it in hands.
  stream.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => {
    try {
      take(chunk);
    } catch (error) {
      // No frames, or none of ours.
      stream.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  });
  socket.on("error", (error) => stream.destroy(error));
  socket.on("close", () => {
    exit.reject(new BerthError("wrong_state", { verb: "exec", reason: "the connection ended", hint: "Begin a new session." }));
    if (!stream.readableEnded && !stream.destroyed) stream.push(null);
  });
  if (head.length > 0) socket.emit("data", head);
  socket.write(encodeFrame(frameTypes.start, Buffer.from(JSON.stringify(start))));
  return {
    stream,
    exit: exit.promise,
    resize: (columns, rows) => void socket.write(encodeFrame(frameTypes.resize, Buffer.from(JSON.stringify({ columns, rows })))),
  };
}
