// `healthcheck` as probes. A check that only asks the component's own port is turned into an HTTP or TCP probe, so that it works without curl and wherever the port is.
import type { Command, Probe } from "@berth/contract/spec.ts";
import { commandFromWords, splitLine } from "./command.ts";
import { get, type Tree } from "./tree.ts";
import { checkKeys, complain, durationOf, flagOf, mappingOf, numberOf, textOf, textsOf, type Place } from "./values.ts";

export interface Healthcheck {
  readonly command: Command;
  /** What it asks, when it only asks a port of its own; port undefined = `$PORT`. */
  readonly asks:
    | { readonly type: "http"; readonly path: string; readonly port: number | undefined }
    | { readonly type: "tcp"; readonly port: number | undefined }
    | undefined;
  readonly interval: number | undefined;
  readonly timeout: number | undefined;
  readonly retries: number | undefined;
  readonly startPeriod: number | undefined;
  readonly startInterval: number | undefined;
}

/** undefined = no check, or one that is switched off. */
export function readHealthcheck(place: Place, tree: Tree | undefined): Healthcheck | undefined {
  const check = mappingOf(place, tree, "healthcheck");
  if (check === undefined) return undefined;
  checkKeys(place, "healthcheck", check);
  const command = readTest(place, get(check, "test"));
  const times = {
    interval: durationOf(place, get(check, "interval"), "interval") || undefined,
    timeout: durationOf(place, get(check, "timeout"), "timeout") || undefined,
    retries: numberOf(place, get(check, "retries"), "retries", { min: 0, max: 1000, whole: true }) || undefined,
    startPeriod: durationOf(place, get(check, "start_period"), "start_period") || undefined,
    startInterval: durationOf(place, get(check, "start_interval"), "start_interval") || undefined,
  };
  if (flagOf(place, get(check, "disable"), "disable") === true || command === undefined) return undefined;
  return { command, asks: asked(command), ...times };
}

function readTest(place: Place, tree: Tree | undefined): Command | undefined {
  if (tree === undefined) return undefined;
  if (tree.type === "scalar") return shellLine(textOf(place, tree, "test") ?? "");
  const [form, ...words] = textsOf(place, tree, "test");
  switch (form) {
    case undefined:
    case "NONE":
      return undefined;
    case "CMD":
      return (
        commandFromWords(words) ??
        complain(place, tree.at, "test", "`CMD` is followed by the program to run", 'Write `["CMD", "program", "argument"]`.')
      );
    case "CMD-SHELL":
      return shellLine(words.join(" "));
    default:
      return complain(place, tree.at, "test", "the list starts with `CMD`, `CMD-SHELL` or `NONE`", "Put `CMD` before the program.");
  }
}

function shellLine(line: string): Command | undefined {
  return line.trim() === "" ? undefined : { shell: line.trim() };
}

/** What a command asks of its own machine, when that is all it does. */
export function asked(command: Command): Healthcheck["asks"] {
  const words = "exec" in command ? command.exec : wordsOfLine(command.shell);
  const [program, ...rest] = words ?? [];
  switch (program?.replace(/^.*\//, "")) {
    case "curl":
      return askedByCurl(rest);
    case "wget":
      return askedByWget(rest);
    case "nc":
      return askedByNc(rest);
    default:
      return undefined;
  }
}

/** Words of a line that does one thing; `|| exit 1` and thrown away output change nothing. `$PORT` stands for the component's port. */
function wordsOfLine(line: string): string[] | undefined {
  const one = line
    .replace(/\s*\|\|\s*(?:exit\s+[0-9]+|false)\s*;?\s*$/, "")
    .replace(/\s*(?:[12]?>\s*\/dev\/null|2>&1|&>\s*\/dev\/null)(?=\s|$)/g, "")
    .replace(/\$(?:PORT\b|\{PORT(?::?-[0-9]+)?\})/g, ownPort);
  const split = splitLine(one);
  return split.ok && split.command !== undefined && "exec" in split.command ? split.command.exec : undefined;
}
const ownPort = "__PORT__";

/** Options that do not change what success means; those in `valued` take the next word. */
function operands(words: readonly string[], allowed: RegExp, valued: RegExp): { flags: string[]; rest: string[] } | undefined {
  const flags: string[] = [];
  const rest: string[] = [];
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? "";
    if (!word.startsWith("-")) rest.push(word);
    else if (valued.test(word)) {
      flags.push(word);
      index += 1;
    } else if (allowed.test(word)) flags.push(word);
    else return undefined;
  }
  return { flags, rest };
}

function askedByCurl(words: readonly string[]): Healthcheck["asks"] {
  const parsed = operands(
    words,
    /^(?:-[fsSLkvgIi46]+|--(?:fail|fail-with-body|silent|show-error|location|insecure|head|ipv4|ipv6|retry-connrefused|(?:max-time|connect-timeout|retry|retry-delay|output)=.*))$/,
    /^(?:-[fsSLkvgIi]*[omw]|--(?:max-time|connect-timeout|retry|retry-delay|output))$/,
  );
  const url = parsed?.rest.length === 1 ? ownUrl(parsed.rest[0] ?? "") : undefined;
  if (url === undefined || parsed === undefined || parsed.flags.some((flag) => /^-[a-zA-Z]*w$/.test(flag))) return undefined;
  // Without --fail curl is content with any answer, which is what a TCP probe asks.
  const strict = parsed.flags.some((flag) => flag.startsWith("--fail") || /^-[a-zA-Z]*f/.test(flag));
  return strict ? { type: "http", ...url } : { type: "tcp", port: url.port };
}

function askedByWget(words: readonly string[]): Healthcheck["asks"] {
  const parsed = operands(
    words,
    /^(?:-[qSv]+|-nv|-q?O-|-q?O\/dev\/null|-[tT][0-9]+|--(?:quiet|spider|no-verbose|server-response|no-check-certificate|(?:tries|timeout|output-document)=.*))$/,
    /^(?:-q?[OtT]|--(?:tries|timeout|output-document))$/,
  );
  const url = parsed?.rest.length === 1 ? ownUrl(parsed.rest[0] ?? "") : undefined;
  return url === undefined ? undefined : { type: "http", ...url };
}

function askedByNc(words: readonly string[]): Healthcheck["asks"] {
  const parsed = operands(words, /^-[zv]+$/, /^-[zv]*w$/);
  const [host, port] = parsed?.rest ?? [];
  if (parsed?.rest.length !== 2 || !parsed.flags.some((flag) => flag.includes("z")) || !ownHost.test(host ?? "")) return undefined;
  return port === ownPort
    ? { type: "tcp", port: undefined }
    : /^[0-9]{1,5}$/.test(port ?? "")
      ? { type: "tcp", port: Number(port) }
      : undefined;
}

const ownHost = /^(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]|::1)$/;

function ownUrl(text: string): { path: string; port: number | undefined } | undefined {
  const match = /^(?:http:\/\/)?(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?::([0-9]{1,5}|__PORT__))?(\/[^#\s]*)?$/.exec(text);
  if (match === null) return undefined;
  const port = match[2] === ownPort ? undefined : Number(match[2] ?? 80);
  return port !== undefined && (port < 1 || port > 65_535) ? undefined : { path: match[3] ?? "/", port };
}

/** `main` is the port that the component is told by `$PORT`; a probe of it names no port. */
export function probesOf(check: Healthcheck, main: number | undefined): { readiness: Probe; startup?: Probe } {
  const probed =
    check.asks === undefined
      ? undefined
      : { ...(check.asks.port === undefined || check.asks.port === main ? {} : { port: check.asks.port }) };
  const what: Probe["check"] =
    check.asks === undefined || probed === undefined
      ? { type: "exec", command: check.command }
      : check.asks.type === "http"
        ? { type: "http", path: check.asks.path, ...probed }
        : { type: "tcp", ...probed };
  const timeout = check.timeout === undefined ? {} : { timeout: within(check.timeout, 50, 600_000) };
  const readiness: Probe = {
    check: what,
    ...(check.interval === undefined ? {} : { period: within(check.interval, 100, 3_600_000) }),
    ...timeout,
    ...(check.retries === undefined ? {} : { failureThreshold: check.retries }),
  };
  const startup = startupOf(check, what.type === "exec" ? 5000 : 1000);
  return startup === undefined ? { readiness } : { readiness, startup: { check: what, ...timeout, ...startup } };
}

/**
 * Compose gives a container its start period and then `retries` intervals before it counts as unhealthy. The startup probe has that budget, but asks
 * more often, so that a release does not wait for a long interval; without a start period and with a short interval readiness alone does the same.
 */
function startupOf(check: Healthcheck, usual: number): { period: number; failureThreshold: number } | undefined {
  const interval = check.interval ?? 30_000;
  if (check.startPeriod === undefined && (check.interval === undefined || check.interval <= 5000)) return undefined;
  const budget = (check.startPeriod ?? 0) + interval * (check.retries ?? 3);
  const period = within(Math.max(check.startInterval ?? Math.min(interval, usual), Math.ceil(budget / 1000)), 100, 3_600_000);
  return { period, failureThreshold: within(Math.ceil(budget / period), 1, 1000) };
}

function within(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
