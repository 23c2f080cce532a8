// Why something failed, for people: the sentence, the evidence under it, and the next step (promise 6).
import { renderCause, type Cause } from "@berth/contract/causes.ts";
import type { Paint } from "../output/colour.ts";
import { oneLine } from "../output/width.ts";

/** At most this many lines of evidence; the logs have the rest. */
const mostEvidence = 12;

/** Lines without indentation. */
export function causeLines(cause: Cause, paint: Paint, options: { readonly next: boolean } = { next: true }): string[] {
  const { sentence, next } = renderCause(cause);
  return [paint.bad(oneLine(sentence)), ...evidenceLines(cause, paint), ...(next === "" || !options.next ? [] : [`${paint.bold("Next:")} ${next}`])];
}

/** One line: for tables and lists. */
export function causeSentence(cause: Cause): string {
  return oneLine(renderCause(cause).sentence);
}

/** The newest evidence, each line marked by what it is. */
export function evidenceLines(cause: Cause, paint: Paint): string[] {
  const shown = cause.evidence.slice(-mostEvidence);
  return shown.map((evidence) => `${paint.dim(evidence.kind === "log" ? "|" : `${evidence.kind}:`)} ${oneLine(evidence.text)}`);
}
