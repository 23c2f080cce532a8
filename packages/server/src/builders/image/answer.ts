// Reads what Docker's own builder answers: which step it is at, what the step printed, and how it ended.
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { BuildEvent } from "../builder.ts";
import type { BuildLog, StepLog } from "../log.ts";
import type { SeenBase } from "./used.ts";
import { instructionFailure, type Script, type ScriptInstruction } from "./instructions.ts";

/** One message of the stream: `POST /build` of the Docker Engine API. */
interface Message {
  readonly stream?: string;
  readonly status?: string;
  readonly aux?: { readonly ID?: string };
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number; readonly message?: string };
}

export interface Reading {
  readonly log: BuildLog;
  readonly onEvent: (event: BuildEvent) => void;
  readonly script: Script;
}

export type Built =
  { readonly ok: true; readonly image: string; readonly seen: readonly SeenBase[] } | { readonly ok: false; readonly cause: Cause };

const heading = /^Step (\d+)\/(\d+) : (.*)$/;
const cached = /^ ---> Using cache$/;
/** Which image a FROM turned out to be. */
const stands = /^ ---> ([0-9a-f]{12})$/;
const running = /^ ---> Running in [0-9a-f]{12}$/;
/** What the daemon says of its own containers and layers. */
const chatter = /^(?: ---> (?:Running in )?[0-9a-f]{12}|Removing intermediate container [0-9a-f]+|Successfully built [0-9a-f]+|)$/;

/** The whole answer, to its end. Throws what the stream throws, and when it ends without saying how the build did. */
export async function readBuild(messages: AsyncIterable<unknown>, reading: Reading): Promise<Built> {
  const reader = new BuildReader(reading);
  let image: string | undefined;
  for await (const one of messages) {
    const message = one as Message;
    if (message.error !== undefined || message.errorDetail !== undefined)
      return { ok: false, cause: reader.fail(message.errorDetail?.message ?? message.error ?? "", message.errorDetail?.code) };
    if (message.aux?.ID !== undefined) image = message.aux.ID;
    if (message.stream !== undefined) reader.take(message.stream);
  }
  reader.finish();
  if (image === undefined) throw new Error("the daemon ended the build without an image and without an error");
  return { ok: true, image, seen: reader.seen };
}

class BuildReader {
  readonly #reading: Reading;
  #rest = "";
  #current: { readonly name: string; readonly log: StepLog; readonly from: number; cached: boolean; started: boolean } | undefined;
  /** Of the instruction that is running, whether it is a step of the plan or not. */
  #other: StepLog;
  #instruction = "";
  #number = 0;
  #total: string | undefined;
  readonly seen: SeenBase[] = [];

  constructor(reading: Reading) {
    this.#reading = reading;
    this.#other = reading.log.step("image");
  }

  take(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
    // A step that prints half a line and goes on is not kept waiting for in memory.
    if (this.#rest.length > 64 * 1024) {
      this.#line(this.#rest);
      this.#rest = "";
    }
  }

  #line(line: string): void {
    // What a step printed to its stderr is set back to the usual colour at the beginning of the daemon's next line.
    const text = (line.endsWith("\r") ? line.slice(0, -1) : line).replace(/^\u001b\[0m/, "");
    const match = this.#heading(text);
    if (match !== undefined) {
      this.#end("finished");
      this.#instruction = match;
      if (this.#at()?.hidden !== true) this.#reading.log.say(this.#instruction);
      const name = this.#at()?.step;
      if (name !== undefined)
        this.#current = { name, log: this.#reading.log.step(name), from: performance.now(), cached: false, started: false };
      return;
    }
    if (cached.test(text) && this.#current?.started !== true) {
      if (this.#current !== undefined) this.#current.cached = true;
      return;
    }
    if (running.test(text)) this.#start();
    const base = this.#base();
    const id = base === undefined ? undefined : stands.exec(text)?.[1];
    if (base !== undefined && id !== undefined) this.seen.push({ said: base, id });
    if (chatter.test(text)) return;
    if (this.#current !== undefined) this.#start();
    (this.#current?.log ?? this.#other).push("stdout", Buffer.from(`${text}\n`));
  }

  /** The instruction that begins, when this is the daemon's next heading: a step may print what looks like one. */
  #heading(text: string): string | undefined {
    const match = heading.exec(text);
    if (match === null || Number(match[1]) !== this.#number + 1) return undefined;
    this.#total ??= match[2];
    if (match[2] !== this.#total) return undefined;
    this.#number += 1;
    return match[3] ?? "";
  }

  /** The instruction that the daemon is at; undefined when it counts others than we do. */
  #at(): ScriptInstruction | undefined {
    const found = this.#reading.script.instructions[this.#number - 1];
    return found !== undefined && this.#instruction.toUpperCase().startsWith(found.keyword) ? found : undefined;
  }

  /** What the FROM names that the daemon is at. */
  #base(): string | undefined {
    return /^FROM (?:--\S+ )*(\S+)/i.exec(this.#instruction)?.[1];
  }

  #start(): void {
    if (this.#current === undefined || this.#current.started) return;
    this.#current.started = true;
    this.#reading.onEvent({ type: "step", name: this.#current.name, state: "started" });
  }

  #end(state: "finished" | "failed"): void {
    const step = this.#current;
    this.#current = undefined;
    if (step === undefined) return;
    step.log.end();
    const took = Math.round(performance.now() - step.from);
    this.#reading.onEvent({ type: "step", name: step.name, state: step.cached && state === "finished" ? "cached" : state, took });
  }

  finish(): void {
    if (this.#rest !== "") this.#line(this.#rest);
    this.#rest = "";
    this.#end("finished");
    this.#other.end();
  }

  /** The cause of a failure that the daemon told, with what the step printed before it. */
  fail(message: string, code: number | undefined): Cause {
    if (this.#rest !== "") this.#line(this.#rest);
    this.#rest = "";
    this.#reading.log.say(message.trim());
    const reason = this.#reading.log.masked((message.trim().split("\n")[0] ?? "").slice(0, 500));
    const base = this.#base();
    if (base !== undefined) return cause("base_image_missing", { image: base, reason });
    const step = this.#current;
    this.#end("failed");
    // A step that ran has an exit code; anything else is the daemon's own trouble.
    const ran = step !== undefined && code !== undefined && code > 0;
    return instructionFailure(this.#reading.script, this.#at(), ran ? { exitCode: code, log: step.log } : { reason }, this.#instruction);
  }
}
