// A command or a terminal in a pod, as the engine's sessions are: one stream for what it writes and reads.
import { Duplex, type Readable } from "node:stream";
import type { KubeApi } from "../../kubernetes/api.ts";
import { exec, type ExecOptions } from "../../kubernetes/streams.ts";
import type { Session } from "../engine.ts";
import { statusOf } from "./instances.ts";

/** Reading gives what the command writes, of stdout and stderr in the order of their arrival. Errors: KubeError when it could not be started. */
export async function openSession(
  api: KubeApi,
  options: ExecOptions,
  size: { readonly columns: number; readonly rows: number } | undefined,
  signal: AbortSignal,
): Promise<Session> {
  const running = await exec(api, { ...options, stdin: true, tty: size !== undefined }, signal);
  if (size !== undefined) running.resize(size.columns, size.rows);
  const outputs = [running.stdout, ...(running.stderr === undefined ? [] : [running.stderr])];
  const stream = new Duplex({
    read: () => outputs.forEach((output) => output.resume()),
    write: (chunk: Buffer, _encoding, done) => void (running.stdin?.write(chunk, (error) => done(error)) ?? done()),
    final: (done) => void (running.stdin?.end(() => done()) ?? done()),
    destroy: (error, done) => {
      running.close();
      done(error);
    },
  });
  // It may break before whoever asked for it has it in hands.
  stream.on("error", () => undefined);
  joinInto(stream, outputs);
  const exit = running.exit.then(({ exitCode }) => statusOf({ exitCode }));
  // Whoever only reads the stream must not be ended by an exit that nobody asked for.
  exit.catch(() => undefined);
  return { stream, resize: (columns, rows) => running.resize(columns, rows), exit };
}

/** Ends when the last of them does; stops reading them while nobody takes what they gave. */
function joinInto(stream: Duplex, outputs: readonly Readable[]): void {
  let open = outputs.length;
  for (const output of outputs) {
    output.on("data", (chunk: Buffer) => {
      if (!stream.push(chunk)) for (const each of outputs) each.pause();
    });
    output.once("end", () => {
      if ((open -= 1) === 0) stream.push(null);
    });
    output.once("error", (error) => stream.destroy(error));
  }
}
