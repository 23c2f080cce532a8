// Reads one container's output, or that of all containers that a service of a Swarm had, from its daemon into its component's store. The daemon holds the lines meanwhile, so nothing is lost while the collector is
// away: it goes on after the last line that it wrote down.
import type { Say } from "../complaints.ts";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError } from "../../docker/errors.ts";
import { readFrames } from "../../docker/frames.ts";
import { writeWhole } from "../../os/files.ts";
import { LineSplitter } from "./lines.ts";
import { createMask } from "./mask.ts";
import type { LogSource } from "./source.ts";
import type { ComponentStore } from "./store.ts";

/** ms: how long lines are gathered before they are written, and after which time one without an end is shown all the same. */
const gather = 20;
const idle = 1_000;
/** ms before an endless reading that broke is begun again. */
const pause = 1_000;
/** ms that the last words of a service may take, from nodes that may be away. */
const lastWords = 10_000;
/** ms after the end of a container within which a reading of its output ends by itself. */
const closing = 3_000;

export interface ContainerSourceOf {
  readonly dir: string;
  readonly instance: string;
  readonly secrets: readonly string[];
  readonly maxLineBytes: number;
  /** Of a service: its id there. */
  readonly container: { readonly id: string; readonly tty: boolean; readonly of?: "container" | "service" };
}

export interface ContainerSourceDeps {
  readonly api: DockerApi;
  readonly now: () => number;
  readonly say: Say;
  /** Everything is read: worth a look. */
  readonly onDrained: () => void;
}

/** Names the newest run of which every line is written, as `run` names the newest of all. */
export const readMark = "read";

type Stream = "stdout" | "stderr";
const streams = ["stdout", "stderr"] as const;

export class ContainerSource implements LogSource {
  readonly store: ComponentStore;
  readonly instance: string;
  readonly #of: ContainerSourceOf;
  readonly #api: DockerApi;
  readonly #now: () => number;
  readonly #splitters: Readonly<Record<Stream, LineSplitter>>;
  readonly #positionFile: string;
  /** How far it came. */
  #position: Position;
  /** Where this reading begins: what was taken before comes once more. */
  #resume: { readonly time: string; left: number } = { time: "", left: 0 };
  #gathered: { readonly stream: Stream; readonly text: string }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #lastByte = 0;
  /** The run whose output is read, or was. */
  #run: string | undefined;
  #reading: Promise<void> | undefined;
  #retryAt = 0;
  #draining: "no" | "yes" | "done" = "no";
  #drained: Promise<void> = Promise.resolve();
  readonly #life = new AbortController();
  /** Ends a reading that does not end with a run: a service's, and one that the daemon forgot. */
  #following = new AbortController();
  readonly #say: ContainerSourceDeps["say"];
  readonly #onDrained: () => void;

  constructor(of: ContainerSourceOf, store: ComponentStore, deps: ContainerSourceDeps) {
    this.#of = of;
    this.store = store;
    this.instance = of.instance;
    this.#api = deps.api;
    this.#now = deps.now;
    this.#say = deps.say;
    this.#onDrained = deps.onDrained;
    const splitter = (): LineSplitter => new LineSplitter(createMask(of.secrets), of.maxLineBytes);
    this.#splitters = { stdout: splitter(), stderr: splitter() };
    this.#positionFile = join(of.dir, "position");
    this.#position = readPosition(existsSync(this.#positionFile) ? readFileSync(this.#positionFile, "utf8") : "");
  }

  open(): void {
    this.store.begin(this.#of.instance);
    this.#readOn();
  }

  /** true when the instance has ended for good and all its lines are written. */
  look(): boolean {
    if (this.#draining === "done") {
      this.store.end(this.#of.instance);
      writeFileSync(join(this.#of.dir, "drained"), "", { mode: 0o600 });
      return true;
    }
    if (this.#draining === "no" && existsSync(join(this.#of.dir, "ended"))) {
      this.#draining = "yes";
      this.#drained = this.#drain();
    } else if (this.#draining === "no") this.#readOn();
    return false;
  }

  /** Begins to read, unless that is under way or the run that was read to its end is still the newest. */
  #readOn(): void {
    if (this.#reading !== undefined || this.#now() < this.#retryAt) return;
    const run = this.#newestRun();
    if (run === undefined || run === this.#run) return;
    this.#following = new AbortController();
    const reading = this.#follow()
      .then(() => {
        if (this.#isService) {
          this.#retryAt = this.#now() + pause;
          return;
        }
        this.#run = run;
        // Whoever wants to know why it ended may go by its last words now.
        writeWhole(join(this.#of.dir, readMark), run);
      })
      .catch((error: unknown) => {
        if (this.#life.signal.aborted || this.#following.signal.aborted) return;
        // Taken up again where it broke off.
        this.#retryAt = this.#now() + pause;
        this.#say("output not read", { instance: this.#of.instance, error: error instanceof Error ? error.message : String(error) });
      })
      .finally(() => {
        this.#reading = undefined;
        // It may have been started again while its last lines were read.
        if (!this.#life.signal.aborted && this.#draining === "no") this.#readOn();
      });
    this.#reading = reading;
  }

  #newestRun(): string | undefined {
    const file = join(this.#of.dir, "run");
    return existsSync(file) ? readFileSync(file, "utf8") : undefined;
  }

  get #isService(): boolean {
    return this.#of.container.of === "service";
  }

  /** To the end of its run, and of a service for as long as it is there. */
  #follow(): Promise<void> {
    const signal = AbortSignal.any([this.#life.signal, this.#following.signal]);
    return this.#read(`/${this.#isService ? "services" : "containers"}/${this.#of.container.id}/logs`, true, signal);
  }

  /** What there is and was not read yet. */
  async #readRest(): Promise<void> {
    const { id } = this.#of.container;
    if (!this.#isService) return this.#read(`/containers/${id}/logs`, false, this.#life.signal);
    const signal = AbortSignal.any([this.#life.signal, AbortSignal.timeout(lastWords)]);
    const filters = JSON.stringify({ service: [id] });
    const tasks = await this.#api.json<readonly TaskOfService[]>("GET", "/tasks", { query: { filters }, signal });
    for (const task of [...tasks].sort((a, b) => compare(a.CreatedAt, b.CreatedAt))) {
      const container = task.Status.ContainerStatus?.ContainerID ?? "";
      if (container === "") continue;
      try {
        await this.#readTask(task.ID, container, signal);
      } catch (error) {
        if (this.#life.signal.aborted) throw error;
        // A node that is away keeps the last words, and nobody waits for them.
        this.#say("last output not read", { instance: this.#of.instance, error: error instanceof Error ? error.message : String(error) });
      }
    }
  }

  /** From this daemon where it has the container, which is quicker than by way of the Swarm. */
  async #readTask(task: string, container: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#read(`/containers/${container}/logs`, false, signal);
    } catch (error) {
      if (!(error instanceof DockerError && error.status === 404)) throw error;
      await this.#read(`/tasks/${task}/logs`, false, signal);
    }
  }

  async #read(path: string, follow: boolean, signal: AbortSignal): Promise<void> {
    const { time, taken } = this.#position;
    this.#resume = { time, left: taken };
    const query = { stdout: true, stderr: true, timestamps: true, follow, ...(time === "" ? {} : { since: unixTime(time) }) };
    const output = await this.#api.stream("GET", path, { query, signal, timeout: Infinity });
    if (this.#of.container.tty) await this.#readTerminal(output);
    else for await (const frame of readFrames(output)) this.#take(frame.stream === "stderr" ? "stderr" : "stdout", frame.data);
    this.#write();
  }

  /** Without frames: every line begins with its time. */
  async #readTerminal(output: Readable): Promise<void> {
    let held = Buffer.alloc(0);
    for await (const chunk of output as AsyncIterable<Buffer>) {
      held = Buffer.concat([held, chunk]);
      for (let end = held.indexOf(0x0a); end >= 0; end = held.indexOf(0x0a)) {
        this.#take("stdout", held.subarray(0, end + 1));
        held = held.subarray(end + 1);
      }
    }
    if (held.length > 0) this.#take("stdout", held);
  }

  /** One message of the daemon: a line, or a piece of a long one, after its time. */
  #take(stream: Stream, data: Buffer): void {
    const space = data.indexOf(0x20);
    const time = space < 0 ? data.toString("latin1").trim() : data.toString("latin1", 0, space);
    if (!/^\d{4}-\d\d-\d\dT/.test(time)) return;
    if (this.#isKnown(time)) return;
    // Lines of two streams may come out of their order.
    const than = this.#position.time === "" ? 1 : compare(order(time), order(this.#position.time));
    if (than > 0) this.#position = { time, taken: 1 };
    else if (than === 0) this.#position = { time, taken: this.#position.taken + 1 };
    this.#lastByte = this.#now();
    for (const text of this.#splitters[stream].push(space < 0 ? Buffer.from("\n") : data.subarray(space + 1)))
      this.#gathered.push({ stream, text });
    this.#timer ??= setTimeout(() => this.#write(), gather);
  }

  /** `since` gives what has the same time once more. podman gives all lines that a program wrote at once the same time, so those that were taken are counted. */
  #isKnown(time: string): boolean {
    if (this.#resume.time === "") return false;
    const than = compare(order(time), order(this.#resume.time));
    if (than !== 0) return than < 0;
    this.#resume.left -= 1;
    return this.#resume.left >= 0;
  }

  /** Lines first, then the note of how far it came: a kill between the two repeats some, and loses none. */
  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines = this.#gathered;
    this.#gathered = [];
    for (let from = 0, to = 0; from < lines.length; from = to) {
      const stream = lines[from]?.stream ?? "stdout";
      while (lines[to]?.stream === stream) to += 1;
      this.store.append(
        this.#of.instance,
        stream,
        lines.slice(from, to).map((line) => line.text),
      );
    }
    if (lines.length > 0 && streams.every((stream) => this.#splitters[stream].held.length === 0))
      writeWhole(this.#positionFile, `${this.#position.time} ${String(this.#position.taken)}`);
  }

  flushIdle(): void {
    if (this.#now() - this.#lastByte < idle) return;
    this.#flush(false);
  }

  #flush(final: boolean): void {
    for (const stream of streams) for (const text of this.#splitters[stream].flush(final)) this.#gathered.push({ stream, text });
    if (this.#gathered.length > 0) this.#write();
  }

  /** It has ended: what the daemon still holds is read, and then nothing more comes. */
  async #drain(): Promise<void> {
    try {
      // The stream of a container ends with it, though a busy podman now and then keeps one open; that of a service never does.
      const end = (): void => this.#following.abort(new Error("it has ended"));
      const late = setTimeout(end, this.#isService ? 0 : closing);
      await this.#reading;
      clearTimeout(late);
      await this.#readRest();
      this.#flush(true);
      this.#draining = "done";
      this.#onDrained();
    } catch (error) {
      if (this.#life.signal.aborted) return;
      // Removed by hand: there is nothing left to read. Otherwise tried again.
      if (error instanceof Error && /no such container|no container with|no such service|service .* not found/i.test(error.message))
        this.#draining = "done";
      else this.#draining = "no";
      this.#say("last output not read", { instance: this.#of.instance, error: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Of one that runs, the daemon alone knows what there is. */
  async catchUp(): Promise<void> {
    if (this.#draining === "yes") await Promise.race([this.#drained, delay(lastWords, undefined, { ref: false })]);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#life.abort(new Error("the collector ends"));
  }
}

interface TaskOfService {
  readonly ID: string;
  readonly CreatedAt: string;
  readonly Status: { readonly ContainerStatus?: { readonly ContainerID?: string } | null };
}

interface Position {
  /** The daemon's time of the newest line that was taken, as it writes it; empty: none was. */
  readonly time: string;
  /** How many lines of that time were taken. */
  readonly taken: number;
}

/** Of a note without a number, all lines of its time were taken. */
function readPosition(text: string): Position {
  const [time = "", taken] = text.split(" ");
  return { time, taken: taken === undefined ? Infinity : Number(taken) };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** All of Docker's times have the same length, podman's have not. Comparable as text: nanoseconds filled up to nine digits. */
function order(time: string): string {
  const [, seconds = "", fraction = ""] = /^([^.Z+]+)(?:\.(\d+))?/.exec(time) ?? [];
  return `${seconds}.${fraction.padEnd(9, "0")}`;
}

/** As the daemon takes it: seconds, a point, nanoseconds. A moment before, since podman leaves out what has the very time. */
function unixTime(time: string): string {
  const [, seconds = "", fraction = "", zone = "Z"] = /^([^.Z+-]+-[^.Z+-]+-[^.Z+-]+)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?$/.exec(time) ?? [];
  const before = Math.max(0, Number(fraction.padEnd(9, "0")) - 1);
  return `${String(Math.floor(Date.parse(`${seconds}${zone}`) / 1_000))}.${String(before).padStart(9, "0")}`;
}
