// Reads what `buildah build` tells: which instruction it is at, what that printed, what came from the cache, and how it ended. A heading is taken for one
// only when it says word for word what comes next in the file: a step that prints another gets nowhere.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { stagesOf } from "../../core/buildplan/instructions.ts";
import type { BuildEvent } from "../builder.ts";
import type { BuildLog, StepLog } from "../log.ts";
import { instructionFailure, type Script, type ScriptInstruction } from "./instructions.ts";

const heading = /^(.*?)(?:\[(\d+)\/(\d+)\] )?STEP (\d+)\/(\d+): (.*)$/s;
const cached = /^--> Using cache [0-9a-f]{64}$/;
/** What Buildah says of its own images. */
const chatter =
  /^(?:--> [0-9a-f]{11}|--> Pushing cache .*|(?:\[\d+\/\d+\] )?COMMIT.*|[0-9a-f]{64}|subprocess exited with status \d+|exit status \d+|)$/;
/** ms without "Using cache" after which an instruction is said to run: Buildah itself does not say so. */
const lookup = 1_000;

interface Place {
  readonly one: ScriptInstruction;
  /** From 1. */
  readonly stage: number;
  readonly number: number;
  /** Of its stage. */
  readonly total: number;
}

interface Current {
  readonly at: ScriptInstruction;
  readonly log: StepLog;
  readonly from: number;
  readonly soon: NodeJS.Timeout;
  cached: boolean;
  started: boolean;
}

export class BuildahReader {
  readonly #log: BuildLog;
  readonly #onEvent: (event: BuildEvent) => void;
  readonly #script: Script;
  readonly #places: readonly Place[];
  #next = 0;
  #current: Current | undefined;
  #last: Current | undefined;
  readonly #other: StepLog;
  readonly #told: string[] = [];
  #held: string | undefined;

  constructor(reading: { readonly log: BuildLog; readonly onEvent: (event: BuildEvent) => void; readonly script: Script }) {
    this.#log = reading.log;
    this.#onEvent = reading.onEvent;
    this.#script = reading.script;
    this.#places = placesOf(reading.script);
    this.#other = reading.log.step("image");
  }

  line(text: string): void {
    const found = this.#heading(text);
    if (found !== undefined) {
      this.#release();
      // What was printed without a line break stands before it.
      if (found.before !== "") this.#print(found.before);
      this.#end("finished");
      this.#begin(found.place.one, found.said);
      return;
    }
    if (cached.test(text) && this.#current !== undefined && !this.#current.cached && !this.#hasPrinted()) {
      this.#current.cached = true;
      clearTimeout(this.#current.soon);
      return;
    }
    if (chatter.test(text)) return;
    this.#told.push(text.slice(0, 4096));
    if (this.#told.length > 200) this.#told.shift();
    // Its last word comes after everything that a step prints, and is said by whoever asks for the failure.
    this.#release();
    if (text.startsWith("Error: ")) this.#held = text;
    else this.#print(text);
  }

  /** What looked like the last word was none. */
  #release(): void {
    const text = this.#held;
    this.#held = undefined;
    if (text !== undefined) this.#print(text);
  }

  /** The next heading, or a later one: stages that nothing needs are left out. */
  #heading(text: string): { readonly before: string; readonly place: Place; readonly said: string } | undefined {
    const match = heading.exec(text);
    if (match === null) return undefined;
    const [, before = "", stage = "1", , number, total, said = ""] = match;
    const fits = (place: Place): boolean =>
      place.number === Number(number) && place.total === Number(total) && place.stage === Number(stage) && says(said, place.one);
    const next = this.#places[this.#next];
    const index =
      next !== undefined && fits(next)
        ? this.#next
        : this.#places.findIndex((place, at) => at >= this.#next && place.number === 1 && fits(place));
    const place = this.#places[index];
    if (place === undefined) return undefined;
    this.#next = index + 1;
    return { before, place, said };
  }

  #begin(at: ScriptInstruction, said: string): void {
    if (at.hidden !== true) this.#log.say(said);
    const soon = setTimeout(() => this.#start(), lookup);
    soon.unref();
    const log = at.step === undefined ? this.#other : this.#log.step(at.step);
    this.#current = { at, log, from: performance.now(), soon, cached: false, started: false };
  }

  #hasPrinted(): boolean {
    return this.#current?.started === true;
  }

  #print(text: string): void {
    this.#start();
    (this.#current?.log ?? this.#other).push("stdout", Buffer.from(`${text}\n`));
  }

  #start(): void {
    const current = this.#current;
    if (current === undefined || current.started || current.cached) return;
    current.started = true;
    if (current.at.step !== undefined) this.#onEvent({ type: "step", name: current.at.step, state: "started" });
  }

  #end(state: "finished" | "failed"): void {
    const current = this.#current;
    if (current === undefined) return;
    clearTimeout(current.soon);
    this.#start();
    this.#last = current;
    this.#current = undefined;
    const name = current.at.step;
    if (name === undefined) return;
    current.log.end();
    const took = Math.round(performance.now() - current.from);
    this.#onEvent({ type: "step", name, state: current.cached && state === "finished" ? "cached" : state, took });
  }

  /** Once it ended well. */
  finish(): void {
    this.#end("finished");
    this.#other.end();
  }

  /** Once it was ended by somebody: nothing more is told. */
  stop(): void {
    clearTimeout(this.#current?.soon);
  }

  /** Why it failed, as far as that is a matter of the project; undefined when Buildah itself was not able to work. */
  failure(): Cause | undefined {
    const words = this.#words();
    const reason = this.#log.masked(words).slice(0, 500);
    this.#log.say(reason);
    const at = this.#current?.at;
    const step = this.#current?.log;
    const code = /(?:^|: )exit status (\d+)$/.exec(words)?.[1];
    this.#end("failed");
    this.#other.end();
    if (at === undefined) return undefined;
    const image = baseOf(at, words);
    if (image !== undefined) return cause("base_image_missing", { image, reason });
    if (/no space left on device/.test(words)) return undefined;
    const ran = at.keyword === "RUN" && code !== undefined && step !== undefined;
    return instructionFailure(
      this.#script,
      at,
      ran ? { exitCode: Number(code), log: step } : { reason },
      this.#log.masked(this.#last?.at.keyword ?? ""),
    );
  }

  /** Buildah's own last word. */
  lastWords(): string {
    return this.#log.masked(this.#words());
  }

  #words(): string {
    const error = this.#told.findLast((line) => line.startsWith("Error: ")) ?? this.#told.at(-1) ?? "it said nothing";
    return error.replace(/^Error: (?:(?:error )?building at STEP "(?:[^"\\]|\\.)*": )?/s, "");
  }
}

/** Which image an instruction could not get; undefined when it failed of something else. */
function baseOf({ keyword, rest }: ScriptInstruction, words: string): string | undefined {
  if (keyword === "FROM") return /^(?:--\S+\s+)*(\S+)/.exec(rest)?.[1];
  const from = /(?:^|\s)--from=(\S+)/.exec(rest)?.[1];
  return from !== undefined && /initializing source|resolve|no stage or image found/.test(words) ? from : undefined;
}

function placesOf({ instructions }: Script): Place[] {
  const stages = stagesOf(instructions).length;
  const groups: ScriptInstruction[][] = Array.from({ length: stages }, () => []);
  let stage = -1;
  for (const one of instructions) {
    if (one.keyword === "FROM") stage += 1;
    groups[stage]?.push(one);
  }
  return groups.flatMap((group, index) => group.map((one, at) => ({ one, stage: index + 1, number: at + 1, total: group.length })));
}

/** Word for word, but for what Buildah puts in: the image of an earlier stage, and variables of FROM. */
function says(said: string, { keyword, rest }: ScriptInstruction): boolean {
  const [first = ""] = said.split(/\s/);
  if (first.toUpperCase() !== keyword) return false;
  return keyword === "FROM" || withoutSpace(said.slice(first.length)).startsWith(withoutSpace(rest).slice(0, 1000));
}

const withoutSpace = (text: string): string => text.replaceAll(/\s+/g, "");
