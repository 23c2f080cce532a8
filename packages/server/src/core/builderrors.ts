// Finds the line of a build's output that says what went wrong, and the causes that have a known remedy (promise 6).
// Fed line by line with text that is already masked; keeps a bounded number of lines and never judges by exit code alone.
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { causeInLine, remedies } from "./knownlines.ts";

/** Lines that name the real error, strongest first. */
const telling: readonly (readonly RegExp[])[] = [
  [
    /\berror TS\d+:/, // tsc
    /^error(?:\[E\d+\])?: (?!could not compile|aborting due to|process didn't exit|failed to run custom build)/, // rustc, cargo
    /^\[ERROR\] \S+\.(?:java|kt|scala|groovy):\[\d+/, // maven compiler
    /^\S+\.(?:java|kt): ?\(?\d+.*\berror\b/, // javac, kotlinc
    /^(?:\.\.?\/)?[^\s:]+\.go:\d+:\d+: /, // go
    /^[^\s:]+\.(?:c|cc|cpp|h|hpp|rs|m|pyx):\d+(?::\d+)?: (?:fatal )?error: /, // gcc, clang
    /^(?:Uncaught )?(?:Syntax|Type|Reference|Range)Error: /, // node, browsers' bundlers
    /^(?:Module not found: )?Error: (?:Cannot find module|Can't resolve|Could not resolve)/,
    /^(?:\s*[✘×]\s*)?\[ERROR\] (?!Failed to execute goal|->|\[Help|Re-run|To see|For more|COMPILATION ERROR|BUILD)/, // esbuild, maven
    /Rollup failed to resolve import|^ERROR in (?!\d+ error)/, // vite, webpack
    /^(?:PHP )?(?:Fatal|Parse) error: /i,
    /^\S+\.rb:\d+:in .*\((?:\w+::)*\w*Error\)/,
  ],
  [
    /^(?!npm )\s*(?:\w+\.)*[A-Z]\w*(?:Error|Exception)(?:: |$)/, // a traceback's last line
    /^(?:ERROR|FATAL|fatal|Fatal|Error|error|E)(?::|!|\b:?\s*\[)(?!\s*Command failed)/,
    /^\[ERROR\] Failed to execute goal/,
    /npm (?:ERR!|error) (?:code E(?!LIFECYCLE)|Missing script|\w+ (?:No matching|404 Not Found))/,
    /ERR_PNPM_\w+|YN00(?!0[07])\d\d:.*(?:error|not found|fail)/i,
    /: (?:command )?not found$|No such file or directory$|Permission denied$/,
  ],
  [/^(?!npm )(?!make(?:\[\d+\])?: ).*\b(?:error|fatal|failed|failure|panic|exception)\b(?! ?: 0)(?!s?: 0\b)/i],
  [/^make(?:\[\d+\])?: \*\*\* /, /^npm (?:ERR!|error) (?!A complete log|code|path|command|.*debug-\d)/],
];
/** Words that only look like a failure, or only say that there was one. */
const harmless =
  /^error: (?:subprocess-exited-with-error|metadata-generation-failed)|\b0 (?:errors|failed|failures|vulnerabilities)\b|\bno errors\b|npm warn|^\s*(?:warning|warn)\b|error-handler|--fail|errors?\.(?:js|ts|py|go|rb)\b(?!:\d)/i;
/** Lines that are repeated after every failure and tell nothing. */
const boilerplate =
  /^npm (?:ERR!|error)(?: 404)?(?:\s*$| (?:A complete log|\s*\S*\/_logs\/|404 (?:Note that you can|tarball, folder)| +at \S))|^\s*$|^\[ERROR\] (?:$|-> |Re-run|To see|For more|\[Help)|^\s*note: (?:run with|This error originates)|^\[notice\]/;
/** From here on npm explains itself: its whole usage, in the same voice as its errors. */
const npmUsage = /^npm (?:ERR!|error) (?:Clean install a project|Install a package|Usage:)\s*$/;
const npmError = /^npm (?:ERR!|error)/;

const escapes = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
/** A line without terminal colours and cursor movements. */
export function plainText(line: string): string {
  const plain = line.replace(escapes, "").trimEnd();
  return plain.slice(plain.lastIndexOf("\r") + 1);
}

interface Seen {
  readonly at: string;
  readonly text: string;
  /** Which one of all. */
  readonly nth: number;
}
const contextLines = 6;
const tailLines = 12;

/** Watches the output of one step. */
export class ErrorScan {
  readonly #best: ({ readonly line: Seen; readonly after: Seen[] } | undefined)[] = telling.map(() => undefined);
  #remedy: { readonly cause: Cause; readonly line: Seen; readonly after: Seen[] } | undefined;
  #gradle = false;
  #usage = false;
  #count = 0;
  /** Columns that a traceback's first line is indented by, while its last one has not come. */
  #traceback: number | undefined;
  #lastOutput: Seen | undefined;
  readonly #tail: Seen[] = [];
  readonly #who: string;

  /** `who`: whose output it is, as the beginning of a sentence. */
  constructor(who = "A step of the build") {
    this.#who = who;
  }

  add(at: string, text: string): void {
    const plain = plainText(text).slice(0, 2000);
    if (boilerplate.test(plain)) return;
    if (npmUsage.test(plain)) this.#usage = true;
    if (this.#usage && npmError.test(plain)) return;
    this.#count += 1;
    const line = { at, text: plain, nth: this.#count };
    this.#lastOutput = line;
    this.#tail.push(line);
    if (this.#tail.length > tailLines) this.#tail.shift();
    for (const found of [...this.#best, this.#remedy])
      if (found !== undefined && found.line !== line && found.after.length < contextLines) found.after.push(line);
    if (this.#remedy === undefined) {
      for (const remedy of remedies) {
        const match = remedy.pattern.exec(plain);
        if (match !== null) {
          this.#remedy = { cause: remedy.cause(match), line, after: [] };
          break;
        }
      }
      const known = this.#remedy === undefined ? causeInLine(this.#who, plain) : undefined;
      if (known !== undefined) this.#remedy = { cause: known, line, after: [] };
    }
    this.#judge(line);
  }

  #judge(line: Seen): void {
    const trimmed = line.text.trimStart();
    const indent = line.text.length - trimmed.length;
    // Gradle names the reason on the line after this one; Python on the first line that is indented no further than the traceback itself, which pip indents as a whole.
    const afterMark = this.#gradle || (this.#traceback !== undefined && indent <= this.#traceback);
    if (afterMark) {
      this.#gradle = false;
      this.#traceback = undefined;
    }
    if (/^\* What went wrong:/.test(trimmed)) {
      this.#gradle = true;
      return;
    }
    if (/^Traceback \(most recent call last\):/.test(trimmed)) {
      this.#traceback = indent;
      return;
    }
    if (afterMark) {
      this.#best[0] ??= { line, after: [] };
      return;
    }
    if (harmless.test(trimmed)) return;
    const rank = telling.findIndex((patterns) => patterns.some((pattern) => pattern.test(trimmed)));
    if (rank >= 0) this.#best[rank] ??= { line, after: [] };
  }

  /** The line that names the error; undefined when none clearly does. */
  line(): string | undefined {
    return (this.#best[0] ?? this.#best[1])?.line.text.trim().slice(0, 500);
  }

  /** The failure of this step. `params` are those of `build_failed`, which is the answer when no remedy is known. */
  failure(params: { readonly step: string; readonly exitCode: string | number }): Cause {
    const first = this.#best.find((found) => found !== undefined);
    const shown = first === undefined ? this.#tail.slice() : [first.line, ...first.after];
    // In the order that they were printed in, beginning with the one that tells: the last lines may reach above it.
    const last = shown.at(-1)?.nth ?? 0;
    for (const line of this.#tail) if (line.nth > last) shown.push(line);
    // Where the remedy is known, what the tool says of itself afterwards (npm prints its whole usage) only hides the line that matters.
    const lines = this.#remedy === undefined ? shown : [this.#remedy.line, ...this.#remedy.after];
    const evidence = lines.slice(0, 30).map((line): Evidence => ({ kind: "log", at: line.at, text: line.text }));
    if (this.#remedy !== undefined) return { ...this.#remedy.cause, evidence };
    return cause(
      "build_failed",
      { ...params, line: (first?.line ?? this.#lastOutput)?.text.trim().slice(0, 500) ?? "it printed nothing" },
      evidence,
    );
  }
}
