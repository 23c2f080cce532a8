// A wall clock that a test can set for a whole Berth: server, edge, database and instances. A small library stands in /etc/ld.so.preload of a mount namespace
// that all of them share, so that it reaches every program, whatever environment it was given; the machine's own clock and files stay as they are.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync, closeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findOnPath } from "../packages/server/src/os/programs.ts";

/** Why there can be none here; undefined when there can. */
export function clockMissing(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "not root on Linux";
  return ["gcc", "unshare"].find((name) => findOnPath(name, process.env["PATH"] ?? "") === undefined)?.concat(" is missing");
}

export class TestClock implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "berth-clock-"));
  readonly #file = join(this.#folder, "shift");

  constructor() {
    writeFileSync(this.#file, Buffer.alloc(8));
    const source = join(import.meta.dirname, "clock.c");
    const library = join(this.#folder, "clock.so");
    execFileSync("gcc", ["-shared", "-fPIC", "-O2", `-DCLOCK_FILE="${this.#file}"`, "-o", library, source]);
    writeFileSync(join(this.#folder, "preload"), `${library}\n`);
  }

  /** What to write before a command so that it, and all that it starts, goes by this clock. */
  get prefix(): readonly string[] {
    const script = `[ -e /etc/ld.so.preload ] || { mkdir -p "$0/etc" "$0/work"; mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/work" /etc; : > /etc/ld.so.preload; }
mount --bind "$0/preload" /etc/ld.so.preload; exec "$@"`;
    return ["unshare", "--mount", "sh", "-c", script, this.#folder];
  }

  /** ms that it is ahead of the machine's; negative: behind. */
  shift(ms: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(ms) * 1_000_000n);
    const fd = openSync(this.#file, "r+");
    writeSync(fd, bytes, 0, 8, 0);
    closeSync(fd);
  }

  [Symbol.dispose](): void {
    if (existsSync(this.#folder)) rmSync(this.#folder, { recursive: true, force: true });
  }
}
