// Finds the line of a build's output that says what went wrong, and the causes that have a known remedy (promise 6).
// Fed line by line with text that is already masked; keeps a bounded number of lines and never judges by exit code alone.
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";

interface Remedy { readonly pattern: RegExp; readonly cause: (match: RegExpExecArray) => Cause }

const outdated = (lockfile: string, manifest: string, command: string) => (): Cause => cause("lockfile_outdated", { lockfile, manifest, command });
const unknownPackage = (manifest: string) => (match: RegExpExecArray): Cause => cause("dependency_not_found", { package: (match[1] ?? match[2] ?? "").replace(/[\s.,;:'"`]+$/, ""), manifest });

/** Failures whose remedy is known. The first line that matches wins; sources are the tools' own messages. */
const remedies: readonly Remedy[] = [
  { pattern: /`npm ci` can only install packages when your package\.json and (package-lock\.json|npm-shrinkwrap\.json)/, cause: outdated("package-lock.json", "package.json", "npm install") },
  { pattern: /npm (?:ERR!|error) 404\s+'?((?:@[^/\s']+\/)?[^\s']+)'? is not in (?:this|the npm) registry/, cause: unknownPackage("package.json") },
  { pattern: /npm (?:ERR!|error) notarget No matching version found for (\S+)/, cause: unknownPackage("package.json") },
  { pattern: /ERR_PNPM_OUTDATED_LOCKFILE|ERR_PNPM_FROZEN_LOCKFILE_WITH_OUTDATED_LOCKFILE/, cause: outdated("pnpm-lock.yaml", "package.json", "pnpm install") },
  { pattern: /ERR_PNPM_FETCH_404\b.*GET \S*\/([^/\s:]+): Not Found/, cause: unknownPackage("package.json") },
  { pattern: /ERR_PNPM_NO_MATCHING_VERSION\b.*No matching version found for (\S+)/, cause: unknownPackage("package.json") },
  { pattern: /Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`|YN0028.*The lockfile would have been modified/, cause: outdated("yarn.lock", "package.json", "yarn install") },
  { pattern: /Couldn't find (?:package "([^"]+)"|any versions for "([^"]+)")/, cause: unknownPackage("package.json") },
  { pattern: /YN0035:? .*?(\S+): Package not found/, cause: unknownPackage("package.json") },
  { pattern: /(?:ERROR: )?No matching distribution found for (\S+)/, cause: unknownPackage("the project's requirements") },
  { pattern: /The lockfile at `?uv\.lock`? needs to be updated/, cause: outdated("uv.lock", "pyproject.toml", "uv lock") },
  { pattern: /Because (\S+) was not found in the package registry/, cause: unknownPackage("pyproject.toml") },
  { pattern: /pyproject\.toml changed significantly since poetry\.lock was last generated|poetry\.lock is not up to date with pyproject\.toml/, cause: outdated("poetry.lock", "pyproject.toml", "poetry lock") },
  { pattern: /Could not find a matching version of package (\S+)/, cause: unknownPackage("pyproject.toml") },
  { pattern: /missing go\.sum entry|updates to go\.mod needed|go: updates to go\.sum needed/, cause: outdated("go.sum", "go.mod", "go mod tidy") },
  { pattern: /(?:cannot find module providing package|no required module provides package) ([^\s;:]+)/, cause: unknownPackage("go.mod") },
  { pattern: /The lock file is not up to date with the latest changes in composer\.json|lock file does not contain a compatible set of packages/, cause: outdated("composer.lock", "composer.json", "composer update --lock") },
  { pattern: /Root composer\.json requires (\S+?),? (?:it )?could not be found/, cause: unknownPackage("composer.json") },
  { pattern: /The gemspecs? for .* changed|dependencies in your gemfile changed|in frozen mode|because frozen mode is set|deployment mode after changing/i, cause: outdated("Gemfile.lock", "Gemfile", "bundle install") },
  { pattern: /Could not find gem '([^'\s]+)[^']*'/, cause: unknownPackage("Gemfile") },
  { pattern: /the lock file .*Cargo\.lock.* needs to be updated but --(?:locked|frozen) was passed|cannot update the lock file .*Cargo\.lock.* because --(?:locked|frozen) was passed/, cause: outdated("Cargo.lock", "Cargo.toml", "cargo update --workspace") },
  { pattern: /no matching package (?:named )?`([^`]+)` found/, cause: unknownPackage("Cargo.toml") },
  { pattern: /Could not find artifact (\S+)/, cause: unknownPackage("pom.xml") },
  { pattern: /Could not find ([\w.-]+:[\w.-]+:[\w.+-]+)\.?$/, cause: unknownPackage("build.gradle") },
];

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
  [
    /^(?!npm )(?!make(?:\[\d+\])?: ).*\b(?:error|fatal|failed|failure|panic|exception)\b(?! ?: 0)(?!s?: 0\b)/i,
  ],
  [/^make(?:\[\d+\])?: \*\*\* /, /^npm (?:ERR!|error) (?!A complete log|code|path|command|.*debug-\d)/],
];
/** Words that only look like a failure, or only say that there was one. */
const harmless = /^error: (?:subprocess-exited-with-error|metadata-generation-failed)|\b0 (?:errors|failed|failures|vulnerabilities)\b|\bno errors\b|npm warn|^\s*(?:warning|warn)\b|error-handler|--fail|errors?\.(?:js|ts|py|go|rb)\b(?!:\d)/i;
/** Lines that are repeated after every failure and tell nothing. */
const boilerplate = /^npm (?:ERR!|error) (?:A complete log|\s*\S*\/_logs\/)|^\s*$|^\[ERROR\] (?:$|-> |Re-run|To see|For more|\[Help)|^\s*note: (?:run with|This error originates)|^\[notice\]/;

const escapes = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
/** A line without terminal colours and cursor movements. */
export function plainText(line: string): string {
  const plain = line.replace(escapes, "").trimEnd();
  return plain.slice(plain.lastIndexOf("\r") + 1);
}

interface Seen { readonly at: string; readonly text: string }
const contextLines = 6;
const tailLines = 12;

/** Watches the output of one step. */
export class ErrorScan {
  readonly #best: ({ readonly line: Seen; readonly after: Seen[] } | undefined)[] = telling.map(() => undefined);
  #remedy: { readonly cause: Cause; readonly line: Seen } | undefined;
  #gradle = false;
  /** Columns that a traceback's first line is indented by, while its last one has not come. */
  #traceback: number | undefined;
  #lastOutput: Seen | undefined;
  readonly #tail: Seen[] = [];

  add(at: string, text: string): void {
    const plain = plainText(text).slice(0, 2000);
    if (boilerplate.test(plain)) return;
    const line = { at, text: plain };
    this.#lastOutput = line;
    this.#tail.push(line);
    if (this.#tail.length > tailLines) this.#tail.shift();
    for (const found of this.#best) if (found !== undefined && found.line !== line && found.after.length < contextLines) found.after.push(line);
    if (this.#remedy === undefined) {
      for (const remedy of remedies) {
        const match = remedy.pattern.exec(plain);
        if (match !== null) { this.#remedy = { cause: remedy.cause(match), line }; break; }
      }
    }
    this.#judge(line);
  }

  #judge(line: Seen): void {
    const trimmed = line.text.trimStart();
    const indent = line.text.length - trimmed.length;
    // Gradle names the reason on the line after this one; Python on the first line that is indented no further than the traceback itself, which pip indents as a whole.
    const afterMark = this.#gradle || (this.#traceback !== undefined && indent <= this.#traceback);
    if (afterMark) { this.#gradle = false; this.#traceback = undefined; }
    if (/^\* What went wrong:/.test(trimmed)) { this.#gradle = true; return; }
    if (/^Traceback \(most recent call last\):/.test(trimmed)) { this.#traceback = indent; return; }
    if (afterMark) { this.#best[0] ??= { line, after: [] }; return; }
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
    for (const line of this.#tail) if (!shown.includes(line)) shown.push(line);
    const lead = this.#remedy?.line;
    const lines = lead === undefined || shown.includes(lead) ? shown : [lead, ...shown];
    const evidence = lines.slice(0, 30).map((line): Evidence => ({ kind: "log", at: line.at, text: line.text }));
    if (this.#remedy !== undefined) return { ...this.#remedy.cause, evidence };
    return cause("build_failed", { ...params, line: (first?.line ?? this.#lastOutput)?.text.trim().slice(0, 500) ?? "it printed nothing" }, evidence);
  }
}
