// Says in the server's log how well this machine keeps programs apart, at each start, where it does not do so fully.
import { fill } from "@berth/contract/causes.ts";
import { notesEn } from "@berth/contract/notes.ts";
import type { Logger } from "pino";
import type { Capabilities, Engine } from "../engines/engine.ts";

/** The notices of an engine as sentences; those that need no word of their own (an engine that does not answer) are left out. */
export function keepingSentences(found: Pick<Capabilities, "notices">): string[] {
  const known: Readonly<Record<string, string>> = notesEn;
  return found.notices.flatMap(({ code, params }) => (known[code] === undefined ? [] : [fill(known[code], params)]));
}

/** Loud where nothing is kept apart; a word where less holds than could. */
export async function logKeeping(engine: Engine, log: Logger, signal: AbortSignal): Promise<void> {
  const found = await engine.capabilities(signal);
  for (const sentence of keepingSentences(found)) log.warn({ isolation: found.isolation, limits: found.limits }, sentence);
}
