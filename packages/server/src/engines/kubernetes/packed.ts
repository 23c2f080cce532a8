// The archive that tar writes in a pod, as a stream that ends only when every byte has come that tar says it wrote. The stream of a command can end early with the code of
// success, for instance when a runtime lets go of what a program that has ended left in its pipe.
import { once } from "node:events";
import { PassThrough, type Readable } from "node:stream";
import type { Exec } from "../../kubernetes/streams.ts";

/** tar with these arguments: says how it ended, and stays until its input ends, which is when all that it wrote has arrived. */
export const packing = (args: readonly string[]): readonly string[] => [
  "sh",
  "-c",
  'tar "$@"; code=$?; echo "berth: $code" >&2; read -r _; exit $code',
  "tar",
  ...args,
  "--totals",
];

/** `running`: of `packing`, with an input. `failureOf`: what a broken connection is to whoever reads. */
export function packed(running: Exec, failureOf: (error: Error) => Error): Readable {
  const out = new PassThrough({ highWaterMark: 1024 * 1024 });
  let length = 0;
  let words = "";
  const total = (): number | undefined => {
    const [, bytes] = /^Total bytes written: (\d+) /m.exec(words) ?? [];
    return bytes === undefined ? undefined : Number(bytes);
  };
  const look = (): void => {
    const [, code] = /^berth: (\d+)$/m.exec(words) ?? [];
    if (code !== undefined && (Number(code) > 1 || length >= (total() ?? 0))) running.stdin?.end();
  };
  running.stdin?.on("error", () => undefined);
  running.stdout.on("data", (chunk: Buffer) => {
    length += chunk.length;
    look();
  });
  running.stdout.pipe(out, { end: false });
  running.stderr
    ?.setEncoding("utf8")
    .on("error", () => undefined)
    .on("data", (chunk: string) => {
      words = (words + chunk).slice(-8_192);
      look();
    });
  Promise.all([running.exit, once(running.stdout, "end")])
    .then(([{ exitCode }]) => {
      // 1: something was changed while it was read, which is no failure for a volume that is in use.
      if (exitCode !== 0 && exitCode !== 1)
        out.destroy(new Error(`the volume could not be read: ${saidIn(words) || `tar ended with ${String(exitCode)}`}`));
      else if (length !== total())
        out.destroy(new Error(`the archive broke off: ${String(length)} of ${String(total() ?? "its")} bytes came`));
      else out.end();
    })
    .catch((error: unknown) => out.destroy(failureOf(error as Error)));
  out.once("close", () => running.close());
  return out;
}

/** What tar complains of. */
export function saidIn(words: string): string {
  return words
    .replaceAll(/^(?:berth: \d+|Total bytes written: .*)$/gm, "")
    .trim()
    .replaceAll(/^tar: /gm, "")
    .slice(0, 1_000);
}
