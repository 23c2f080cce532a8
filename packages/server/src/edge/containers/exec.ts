// Commands in a container beside its program, by the daemon's exec calls: for probes, and for people at a terminal.
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "@berth/contract/spec.ts";
import { DockerError } from "../../docker/errors.ts";
import { readFrames } from "../../docker/frames.ts";
import { frameTypes } from "../../engines/agent/protocol.ts";
import { argumentsOf } from "../../core/command.ts";
import type { Running, SessionEvents, SessionStart, Size } from "../agent/exec.ts";
import type { Daemon } from "./daemon.ts";
import { exitOf } from "./causes.ts";

const keptOutput = 64 * 1024;

/** As the container's user, with its environment and folder. The code is undefined when the signal came first. */
export async function runInContainer(
  daemon: Daemon,
  container: string,
  command: Command,
  signal: AbortSignal,
): Promise<{ readonly code: number | undefined; readonly output: string }> {
  let output = "";
  try {
    const exec = await daemon.createExec(container, { Cmd: argumentsOf(command), AttachStdout: true, AttachStderr: true }, signal);
    const connection = await daemon.startExec(exec, false, signal);
    connection.end();
    for await (const frame of readFrames(connection)) if (output.length < keptOutput) output += frame.data.toString("utf8");
    const { ExitCode } = await daemon.inspectExec(exec);
    return { code: ExitCode ?? undefined, output };
  } catch (error) {
    if (signal.aborted) return { code: undefined, output };
    throw error;
  }
}

/** The daemon may say that it has begun a moment before it has. One that ended at once needs no size. */
async function firstSize(daemon: Daemon, exec: string, { columns, rows }: Size): Promise<void> {
  for (let tries = 0; tries < 20; tries += 1) {
    try {
      return await daemon.resizeExec(exec, columns, rows);
    } catch (error) {
      if (!(error instanceof DockerError)) throw error;
      await sleep(25);
    }
  }
}

/** A session of a person. Ending it closes its terminal or its input; the program is told by that. */
export async function beginInContainer(
  daemon: Daemon,
  container: string,
  start: SessionStart,
  events: SessionEvents,
  socket: Duplex,
): Promise<Running> {
  const life = new AbortController();
  const { tty } = start;
  const exec = await daemon.createExec(
    container,
    {
      Cmd: argumentsOf(start.command),
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: tty !== undefined,
      ...(tty === undefined ? {} : { Env: ["TERM=xterm-256color"], ConsoleSize: [tty.rows, tty.columns] }),
    },
    life.signal,
  );
  const connection = await daemon.startExec(exec, tty !== undefined, life.signal);
  // What is typed after a change of the size meets the new one, though the two go different ways.
  let turn: Promise<void> = Promise.resolve();
  const inTurn = (act: () => void | Promise<void>): void => {
    // One that has ended meanwhile takes no input and has no size.
    turn = turn.then(act).catch(() => undefined);
  };
  // Before anything is typed: what is asked for the size first has to see it.
  if (tty !== undefined)
    await firstSize(daemon, exec, tty).catch((error: unknown) => {
      connection.destroy();
      throw error;
    });
  const read = async (): Promise<void> => {
    if (tty === undefined)
      for await (const { stream, data } of readFrames(connection))
        await send(stream === "stderr" ? frameTypes.stderr : frameTypes.stdout, data);
    else for await (const data of connection as AsyncIterable<Buffer>) await send(frameTypes.stdout, data);
    const { ExitCode } = await daemon.inspectExec(exec);
    const { exitCode, signal } = exitOf(ExitCode ?? 0);
    events.exit({ ...(exitCode === undefined ? {} : { exitCode }), ...(signal === undefined ? {} : { signal }) });
  };
  async function send(type: typeof frameTypes.stdout | typeof frameTypes.stderr, data: Buffer): Promise<void> {
    for (let at = 0; at < data.length; at += 65_536) events.output(type, data.subarray(at, at + 65_536));
    if (socket.writableNeedDrain) await new Promise((resolve) => socket.once("drain", resolve).once("close", resolve));
  }
  read().catch((error: unknown) => {
    if (!life.signal.aborted) events.exit({ error: error instanceof Error ? error.message : String(error) });
  });
  return {
    write: (data) => {
      inTurn(() => {
        if (connection.writable) connection.write(data);
      });
    },
    // A terminal has no end of input; ^D is how people send it.
    endInput: () => {
      inTurn(() => {
        if (tty === undefined) connection.end();
        else if (connection.writable) connection.write("\u0004");
      });
    },
    resize: ({ columns, rows }) => {
      inTurn(() => daemon.resizeExec(exec, columns, rows));
    },
    kill: () => {
      life.abort(new Error("the session was ended"));
      connection.destroy();
    },
  };
}
