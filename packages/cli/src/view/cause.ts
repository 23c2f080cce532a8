// Why something failed, for people: the sentence, the evidence under it, and the next step (promise 6).
import { renderCause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import type { Paint } from "../output/colour.ts";
import { spelled } from "../output/time.ts";
import { oneLine } from "../output/width.ts";

/** At most so many lines of a log, and of everything else; the logs have the rest. */
const mostLines = 12;
const mostFacts = 8;

/** Lines without indentation. */
export function causeLines(cause: Cause, paint: Paint, options: { readonly next: boolean } = { next: true }): string[] {
  const { sentence, next } = renderCause(cause);
  return [
    paint.bad(oneLine(sentence)),
    ...evidenceLines(cause, paint),
    ...(next === "" || !options.next ? [] : [`${paint.bold("Next:")} ${oneLine(next)}`]),
  ];
}

/** One line: for tables and lists. */
export function causeSentence(cause: Cause): string {
  return oneLine(renderCause(cause).sentence);
}

/** What was printed after `|`, and each thing that was seen after `-`: what was found out first, then the log, then how it ended. */
export function evidenceLines(cause: Cause, paint: Paint): string[] {
  const facts = cause.evidence.filter((one) => one.kind !== "log");
  const fact = (text: string): string => `${paint.dim("-")} ${oneLine(text)}`;
  const { sentence } = renderCause(cause);
  return [
    ...merged(facts.filter((one) => one.kind !== "exit"))
      .slice(0, mostFacts)
      .map(fact),
    ...logWindow(
      cause.evidence.filter((one) => one.kind === "log").map((one) => oneLine(one.text).trimEnd()),
      sentence,
    ).map((line) => `${paint.dim("|")} ${line}`.trimEnd()),
    ...merged(facts.filter((one) => one.kind === "exit"))
      .slice(-mostFacts)
      .map(fact),
  ];
}

/** What was seen again and again is told once, with how often and for how long. */
function merged(facts: readonly Evidence[]): string[] {
  const runs: { readonly first: Evidence; readonly last: Evidence; readonly times: number }[] = [];
  for (const one of facts) {
    const run = runs.at(-1);
    if (run?.first.kind === one.kind && run.first.text === one.text) runs[runs.length - 1] = { ...run, last: one, times: run.times + 1 };
    else runs.push({ first: one, last: one, times: 1 });
  }
  return runs.map(({ first, last, times }) => {
    const passed = Date.parse(last.at ?? "") - Date.parse(first.at ?? "");
    const often = times === 1 ? "" : passed > 0 ? ` (${times} times in ${spelled(passed)})` : ` (${times} times)`;
    return `${first.text}${often}`;
  });
}

/** The lines around the one that the sentence quotes; without such a one the last ones. What is printed again and again is told once. */
function logWindow(lines: readonly string[], sentence: string): string[] {
  const told = withoutEmptyEnds(repeatedOnce(lines));
  if (told.length <= mostLines) return told;
  // The last one: lines of the run before may stand above.
  const quoted = told.findLastIndex((line) => line.trim().length > 8 && sentence.includes(line.trim().replace(/\.$/, "")));
  const from = quoted < 0 ? told.length - mostLines : Math.min(Math.max(0, quoted - 3), told.length - mostLines);
  return withoutEmptyEnds(told.slice(from, from + mostLines));
}

function repeatedOnce(lines: readonly string[]): string[] {
  const runs: { readonly line: string; times: number }[] = [];
  for (const line of lines) {
    const run = runs.at(-1);
    if (run !== undefined && (run.line === line || (run.line.trim() === "" && line.trim() === ""))) run.times += 1;
    else runs.push({ line, times: 1 });
  }
  return runs.map(({ line, times }) => (times === 1 || line.trim() === "" ? line : `${line}  (${String(times)} times)`));
}

function withoutEmptyEnds(lines: readonly string[]): string[] {
  const first = lines.findIndex((line) => line.trim() !== "");
  return first < 0 ? [] : lines.slice(first, lines.findLastIndex((line) => line.trim() !== "") + 1);
}
