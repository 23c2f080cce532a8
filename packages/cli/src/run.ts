// One run of the command line, from what was typed to an exit code. Everything it touches comes in as `io`, so that a test can run it in its own process.
import type { Surroundings } from "./config.ts";
import { Context, type Settings } from "./context.ts";
import { readCredentials, serverUrl } from "./credentials.ts";
import { GaveUp, Interrupted, UsageError, exitCodes } from "./failure.ts";
import { helpPage } from "./help.ts";
import { nearest } from "./nearest.ts";
import { Output, type TextSink } from "./output/output.ts";
import { parseDuration } from "./output/time.ts";
import { wrapped } from "./output/width.ts";
import { parseCommand, type Parsed } from "./program.ts";
import { findProjectFile } from "./project.ts";
import { createPrompt, type Keyboard } from "./prompt.ts";
import { registry } from "./registry.ts";
import { tell } from "./report.ts";
import { resolve } from "./resolve.ts";
import { sayIn, type Say } from "./text/say.ts";
import { topics } from "./text/topics.ts";
import { version } from "./version.ts";

export interface Io {
  readonly stdin: Keyboard;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly surroundings: Surroundings;
  readonly cwd: string;
  readonly now: () => Date;
  /** Calls back on SIGINT or SIGTERM; answers how to stop listening. */
  readonly onInterrupt: (call: () => void) => () => void;
}

export const defaultServer = "http://127.0.0.1:7420";

/** The exit code; see `berth help exit-codes`. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const plain = flagsIn(argv);
  let out = outputOf(plain, io);
  if (argv[0] === "__complete") return completeSilently(argv.slice(argv[1] === "--" ? 2 : 1), out, io);
  let say: Say = sayIn("en");
  let context: Context | undefined;
  try {
    say = sayIn(plain.lang ?? io.surroundings.lang);
    const resolved = resolve(argv, registry, say);
    if (resolved.kind === "version") out.line(`berth ${version}`);
    if (resolved.kind === "help") showHelp(resolved.about, out, say);
    if (resolved.kind !== "command") return exitCodes.done;
    if (resolved.note !== undefined) out.note(resolved.note);
    const command = registry.find(resolved.path);
    if (command === undefined) throw new UsageError(say("unknown_command", { given: resolved.path.join(" ") }), say("see_all"));
    const parsed = parseCommand(command, resolved.path, resolved.args, io.now(), say);
    if (parsed.kind === "help") {
      showHelp(resolved.path, out, say);
      return exitCodes.done;
    }
    // Now it is known which of the options were meant for us and which for a program that is run.
    out = outputOf(
      { json: parsed.globals["json"] === true, quiet: parsed.globals["quiet"] === true, noColour: parsed.globals["color"] === false },
      io,
    );
    const abort = new AbortController();
    context = await contextOf(parsed, io, out, say, abort.signal);
    return (await withEnds(abort, context.settings.timeout, io, command.run(context, parsed))) ?? exitCodes.done;
  } catch (error) {
    return report(error, context, out, say, io);
  }
}

function outputOf(shape: { readonly json: boolean; readonly quiet: boolean; readonly noColour: boolean }, io: Io): Output {
  return new Output({
    stdout: io.stdout,
    stderr: io.stderr,
    json: shape.json,
    quiet: shape.quiet,
    colour: shape.noColour ? false : io.surroundings.colour,
    columns: io.surroundings.columns,
    dumb: io.surroundings.dumb,
  });
}

/** Completion says what it knows, and nothing about what went wrong. */
async function completeSilently(words: readonly string[], out: Output, io: Io): Promise<number> {
  const { complete } = await import("./completion/complete.ts");
  const context = (): Promise<Context> =>
    contextOf(
      { kind: "run", arguments: {}, options: {}, globals: {} },
      io,
      new Output({ stdout: io.stdout, stderr: io.stderr, json: false, quiet: true, colour: false, columns: undefined }),
      sayIn("en"),
      new AbortController().signal,
    );
  try {
    const candidates = await complete(words, registry, context);
    if (typeof candidates === "string") out.line(`:${candidates}`);
    else out.lines(candidates.map(({ value, description }) => `${value}\t${description}`));
  } catch (error) {
    if (io.surroundings.variable("BERTH_DEBUG") !== undefined) out.err(`${String(error)}\n`);
  }
  return exitCodes.done;
}

/** Until the command ends: Ctrl-C and --timeout abort it, with the reason that decides the exit code. */
async function withEnds<T>(abort: AbortController, timeout: number | undefined, io: Io, work: Promise<T>): Promise<T> {
  const quiet = io.onInterrupt(() => {
    abort.abort(new Interrupted());
  });
  const timer =
    timeout === undefined
      ? undefined
      : setTimeout(() => {
          abort.abort(new GaveUp(timeout));
        }, timeout);
  try {
    return await work;
  } catch (error) {
    // What an abort made fail is told by the abort's reason.
    throw abort.signal.aborted ? abort.signal.reason : error;
  } finally {
    clearTimeout(timer);
    quiet();
  }
}

async function contextOf(parsed: Parsed, io: Io, out: Output, say: Say, signal: AbortSignal): Promise<Context> {
  const { globals } = parsed;
  const { surroundings } = io;
  const given = (name: string): string | undefined =>
    typeof globals[name] === "string" && globals[name] !== "" ? globals[name] : undefined;
  const project = await findProjectFile(io.cwd);
  const credentials = await readCredentials(surroundings.configDir);
  const url = serverUrl(given("server") ?? surroundings.server ?? project?.server ?? credentials.current ?? defaultServer);
  const token = given("token") ?? surroundings.token;
  const timeout = given("timeout");
  const settings: Settings = {
    serverUrl: url,
    token: token ?? credentials.servers[url]?.token,
    tokenGiven: token !== undefined,
    stackGiven: (given("stack") ?? surroundings.stack) !== undefined,
    stack: given("stack") ?? surroundings.stack ?? project?.stack,
    component: given("component") ?? surroundings.component ?? project?.component,
    yes: globals["yes"] === true,
    wait: globals["wait"] !== false,
    timeout: timeout === undefined ? undefined : timeoutOf(timeout),
  };
  return new Context({
    out,
    say,
    settings,
    surroundings,
    prompt: createPrompt(io.stdin, io.stderr, out),
    stdin: io.stdin,
    cwd: io.cwd,
    signal,
    now: io.now,
  });
}

function timeoutOf(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new UsageError(`--timeout wants a duration, not \`${text}\`.`, "Write it like 30s, 10m or 1h30m.");
  return ms;
}

function showHelp(about: readonly string[], out: Output, say: Say): void {
  const page = helpPage(about, registry, { width: Math.min(out.width ?? 100, 100), paint: out.paint });
  if (page !== undefined) return out.lines(page);
  const given = about.join(" ");
  const near = nearest(about[0] ?? "", [...registry.daily.keys(), ...registry.nouns, ...Object.keys(topics)]);
  throw new UsageError(
    say("unknown_command", { given }),
    near === undefined ? say("see_all") : say("did_you_mean", { what: `berth help ${near}` }),
  );
}

function report(error: unknown, context: Context | undefined, out: Output, say: Say, io: Io): number {
  const told = tell(error, {
    say,
    serverUrl: context?.settings.serverUrl ?? defaultServer,
    signedIn: context?.settings.token !== undefined,
    tokenGiven: context?.settings.tokenGiven ?? false,
    guessedFrom: context?.guessedFrom,
    watch: context?.watch,
  });
  // Ctrl-C is how following logs and events is meant to end: there is nothing to tell.
  if (error instanceof Interrupted && context?.watch === undefined) return told.exitCode;
  const { errPaint } = out;
  out.err(`${errPaint.bad(`${say("error")}:`)} ${told.detail}\n`);
  for (const line of told.lines) out.err(line === "" ? "\n" : `  ${line}\n`);
  if (told.next !== undefined)
    out.err(
      `${wrapped(told.next, Math.max(40, (out.errWidth ?? 1000) - 6))
        .map((line, index) => (index === 0 ? `${errPaint.bold(`${say("next")}:`)} ${line}` : `      ${line}`))
        .join("\n")}\n`,
    );
  if (io.surroundings.variable("BERTH_DEBUG") !== undefined && error instanceof Error && error.stack !== undefined)
    out.err(`${error.stack}\n`);
  return told.exitCode;
}

/** The options that shape messages, seen before anything is parsed so that errors of parsing obey them too. What follows `--` belongs to another program. */
function flagsIn(argv: readonly string[]): {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly noColour: boolean;
  readonly lang: string | undefined;
} {
  const end = argv.indexOf("--");
  const own = end === -1 ? argv : argv.slice(0, end);
  const at = own.indexOf("--lang");
  return {
    json: own.includes("--json"),
    quiet: own.includes("--quiet") || own.includes("-q"),
    noColour: own.includes("--no-color"),
    lang: own.find((word) => word.startsWith("--lang="))?.slice(7) ?? (at === -1 ? undefined : own[at + 1]),
  };
}
