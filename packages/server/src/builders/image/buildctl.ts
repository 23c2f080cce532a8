// Runs BuildKit's own client, `buildctl`. It holds the session of a build: when it ends, buildkitd ends what it runs for it. Knows nothing of plans or images.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** Where buildkitd listens, and how it is spoken to. */
export interface Buildkit {
  /** The client's program, 0.12 or newer, by its absolute path. */
  readonly program: string;
  /** `unix:///run/buildkit/buildkitd.sock`, `tcp://host:1234`. */
  readonly address: string;
  /** Files of certificates, for TCP. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string; readonly serverName?: string };
}

/** Nobody answered, or the connection broke: a matter of the installation and no fault of what is built. */
export class BuildkitUnreachable extends Error {
  override readonly name = "BuildkitUnreachable";
  constructor(address: string, reason: string) {
    super(`${address} cannot be reached: ${reason}`);
  }
}

export interface BuildctlCall {
  readonly args: readonly string[];
  /** The whole environment: nothing of Berth's own is seen by the client. */
  readonly env: Readonly<Record<string, string>>;
  /** Each line of what it tells, progress and errors alike. */
  readonly onLine: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface BuildctlRun {
  /** What it makes. Has to be read to its end; an aborted signal ends it early. */
  readonly stdout: Readable;
  /** Once it is gone and all that it told was read. Rejects when the program cannot be started or `onLine` throws. */
  readonly ended: Promise<{ readonly code: number | null }>;
}

/** How long it may take to say goodbye, ms. */
const patience = 3_000;

/** Starts it; an aborted signal ends it within three seconds, and with it what buildkitd does for it. */
export function startBuildctl(buildkit: Buildkit, call: BuildctlCall): BuildctlRun {
  const child = spawn(buildkit.program, [...connection(buildkit), ...call.args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...call.env },
  });
  // Told of by its end; where no more files can be opened there is nothing else of it.
  child.on("error", () => undefined);
  let killing: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill("SIGTERM");
    // Its reader may be gone already; nobody wants the rest.
    child.stdout.destroy();
    killing = setTimeout(() => child.kill("SIGKILL"), patience);
  };
  if (call.signal.aborted) stop();
  else call.signal.addEventListener("abort", stop, { once: true });
  const lines = createInterface({ input: child.stderr, crlfDelay: Infinity });
  const reading = (async () => {
    for await (const line of lines) call.onLine(line);
  })();
  const ended = (async () => {
    try {
      const closed = once(child, "close") as Promise<[number | null]>;
      // Nobody may wait for it yet when it cannot be started.
      closed.catch(() => undefined);
      const [[code]] = await Promise.all([closed, reading]);
      return { code };
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    } finally {
      call.signal.removeEventListener("abort", stop);
      clearTimeout(killing);
    }
  })();
  return { stdout: child.stdout, ended };
}

/** One call that makes nothing, such as `prune`; its last words when it failed. Throws BuildkitUnreachable, or the signal's reason. */
export async function callBuildctl(buildkit: Buildkit, args: readonly string[], signal: AbortSignal): Promise<string> {
  const told: string[] = [];
  const { stdout, ended } = startBuildctl(buildkit, { args, env: {}, onLine: (line) => told.push(line), signal });
  const printed: Buffer[] = [];
  stdout.on("data", (chunk: Buffer) => printed.push(chunk));
  const { code } = await ended;
  signal.throwIfAborted();
  if (code === 0) return Buffer.concat(printed).toString();
  const last = lastWords(told);
  if (isUnreachable(last)) throw new BuildkitUnreachable(buildkit.address, last);
  throw new Error(`buildctl ${args[0] ?? ""} failed: ${last}`);
}

/** The client's own last line: what it died of. */
export function lastWords(told: readonly string[]): string {
  const error = told.findLast((line) => line.startsWith("error: ")) ?? told.at(-1) ?? "it said nothing";
  return error.replace(/^error: /, "");
}

/** By how they begin: what follows may be anybody's. */
export function isUnreachable(words: string): boolean {
  return /^(?:[A-Za-z ]+: )*(?:rpc error: code = )?Unavailable\b/.test(words);
}

function connection({ address, tls }: Buildkit): string[] {
  return [
    "--addr",
    address,
    ...(tls === undefined ? [] : ["--tlscacert", tls.ca, "--tlscert", tls.cert, "--tlskey", tls.key]),
    ...(tls?.serverName === undefined ? [] : ["--tlsservername", tls.serverName]),
  ];
}
