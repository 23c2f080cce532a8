// Runs the command line in this process, with streams that remember, a home of its own and a clock that stands still.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { readSurroundings } from "../config.ts";
import { run } from "../run.ts";
import { now } from "./objects.ts";

class Memory extends Writable {
  text = "";
  readonly isTTY: boolean;
  readonly columns: number | undefined;
  readonly rows = 24;
  readonly #onText: (text: string) => void;
  constructor(width: number | undefined, onText: (text: string) => void = () => undefined) {
    super();
    this.#onText = onText;
    this.isTTY = width !== undefined;
    this.columns = width;
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString("utf8");
    this.#onText(this.text);
    done();
  }
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | undefined;
  /** Given = all three streams are a terminal of this width. */
  readonly terminal?: number;
  /** Called with what interrupts the run, as Ctrl-C does. */
  readonly onStart?: (interrupt: () => void) => void;
  /** Called with all that stdout has, at each write; and stderr. */
  readonly onOut?: (text: string) => void;
  readonly onErr?: (text: string) => void;
}

export class Cli {
  readonly home: string;
  /** What `berth login` would have left behind. */
  readonly env: Record<string, string>;

  private constructor(home: string, env: Record<string, string>) {
    this.home = home;
    this.env = { HOME: home, BERTH_STACK: "shop", ...env };
  }

  /** `url`: the server; the token is `t`. */
  static async create(url?: string, env: Readonly<Record<string, string>> = {}): Promise<Cli> {
    return new Cli(await mkdtemp(join(tmpdir(), "berth-cli-")), {
      ...(url === undefined ? {} : { BERTH_SERVER: url, BERTH_TOKEN: "t" }),
      ...env,
    });
  }

  async remove(): Promise<void> {
    await rm(this.home, { recursive: true, force: true });
  }

  /** `args` as words, or one line without quoting. */
  async run(args: string | readonly string[], options: RunOptions = {}): Promise<Ran> {
    const stdout = new Memory(options.terminal, options.onOut);
    const stderr = new Memory(options.terminal, options.onErr);
    const stdin = Object.assign(new PassThrough(), { isTTY: options.terminal !== undefined });
    if (options.stdin === undefined) stdin.end();
    else stdin.end(options.stdin);
    const code = await run(typeof args === "string" ? args.split(" ") : args, {
      stdin,
      stdout,
      stderr,
      surroundings: readSurroundings({ ...this.env, ...options.env }),
      cwd: options.cwd ?? this.home,
      now: () => now,
      onInterrupt: (call) => {
        options.onStart?.(call);
        return () => undefined;
      },
    });
    return { code, out: stdout.text, err: stderr.text };
  }
}

/** Without colours and cursor movements. */
export function plain(text: string): string {
  return text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, "");
}
