// Reads what BuildKit tells of a build (`buildctl build --progress=rawjson`): which instruction runs, what it prints, what came from the cache, and how it ended.
// https://pkg.go.dev/github.com/moby/buildkit/client#SolveStatus
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { BuildEvent } from "../builder.ts";
import type { BuildLog, StepLog } from "../log.ts";
import { instructionFailure, instructionFinder, type Script, type ScriptInstruction } from "./instructions.ts";

/** A node of the build's graph; it is told anew whenever something about it changes. */
interface Vertex {
  readonly digest: string;
  readonly name?: string;
  readonly started?: string;
  readonly completed?: string;
  readonly cached?: boolean;
  readonly error?: string;
}

interface Status {
  readonly vertexes?: readonly Vertex[] | null;
  /** `stream` 2 is what went to stderr; `data` is base64. */
  readonly logs?: readonly { readonly vertex: string; readonly stream?: number; readonly data: string }[] | null;
}

interface Node {
  readonly name: string;
  readonly at: ScriptInstruction | undefined;
  readonly log: StepLog;
  started: boolean;
  ended: boolean;
}

const metadata = /^\[internal\] load metadata for (\S+)$/;

export class SolveReader {
  readonly #log: BuildLog;
  readonly #onEvent: (event: BuildEvent) => void;
  readonly #script: Script;
  readonly #find: (name: string) => ScriptInstruction | undefined;
  readonly #nodes = new Map<string, Node>();
  #failed: { readonly node: Node; readonly error: string } | undefined;
  /** What is no progress: the client's own words. */
  readonly told: string[] = [];

  constructor(reading: { readonly log: BuildLog; readonly onEvent: (event: BuildEvent) => void; readonly script: Script }) {
    this.#log = reading.log;
    this.#onEvent = reading.onEvent;
    this.#script = reading.script;
    this.#find = instructionFinder(reading.script.instructions);
  }

  /** One line of the client. */
  line(text: string): void {
    const status = text.startsWith("{") ? parse(text) : undefined;
    if (status === undefined) {
      this.told.push(text.slice(0, 4096));
      if (this.told.length > 200) this.told.shift();
      return;
    }
    const vertexes = status.vertexes ?? [];
    const logs = status.logs ?? [];
    // One message may tell the end of a step and the beginning of the next: in this order, and a step's last words before its end.
    const ending = vertexes.filter(({ digest, completed }) => completed !== undefined && this.#nodes.get(digest)?.started === true);
    const isEnding = new Set(ending.map(({ digest }) => digest));
    this.#words(logs.filter(({ vertex }) => isEnding.has(vertex)));
    for (const vertex of ending) this.#completed(vertex);
    for (const vertex of vertexes) this.#vertex(vertex);
    this.#words(logs.filter(({ vertex }) => !isEnding.has(vertex)));
    for (const vertex of vertexes) this.#completed(vertex);
  }

  #words(logs: NonNullable<Status["logs"]>): void {
    for (const { vertex, stream, data } of logs)
      this.#nodes.get(vertex)?.log.push(stream === 2 ? "stderr" : "stdout", Buffer.from(data, "base64"));
  }

  #vertex({ digest, name = "", started, cached }: Vertex): void {
    const node = this.#nodes.get(digest) ?? this.#enter(digest, name);
    if (started === undefined || cached === true || node.started) return;
    node.started = true;
    if (!name.startsWith("[internal]")) this.#log.say(name);
    if (node.at?.step !== undefined) this.#onEvent({ type: "step", name: node.at.step, state: "started" });
  }

  #enter(digest: string, name: string): Node {
    const at = this.#find(name);
    const node: Node = { name, at, log: this.#log.step(at?.step ?? "image"), started: false, ended: false };
    this.#nodes.set(digest, node);
    return node;
  }

  #completed({ digest, completed, started, cached, error = "" }: Vertex): void {
    const node = this.#nodes.get(digest);
    if (node === undefined || completed === undefined || node.ended) return;
    node.ended = true;
    node.log.end();
    // What is cancelled because another step failed has not failed itself.
    const cancelled = /context canceled/.test(error);
    if (error !== "" && !cancelled) this.#failed ??= { node, error };
    const step = node.at?.step;
    if (cached === true) this.#log.say(`${node.name} (cached)`);
    if (step === undefined || cancelled) return;
    const took = started === undefined ? 0 : Math.max(0, Date.parse(completed) - Date.parse(started));
    this.#onEvent({ type: "step", name: step, state: error !== "" ? "failed" : cached === true ? "cached" : "finished", took });
  }

  /** Whether an instruction did: what is said then is the project's own. */
  get hasFailed(): boolean {
    return this.#failed !== undefined;
  }

  /** Why the build failed, as far as BuildKit said it of an instruction or of the file; undefined when it said nothing of either. */
  failure(): Cause | undefined {
    const words = this.#log.masked(this.told.findLast((line) => line.startsWith("error: "))?.slice("error: ".length) ?? "");
    const reason = words.replace(/^failed to solve: /, "").slice(0, 500);
    if (reason !== "") this.#log.say(reason);
    if (this.#failed === undefined) return this.#unread(reason);
    const { node, error } = this.#failed;
    const at = this.#instructionAt(this.#line()) ?? node.at;
    const image = metadata.exec(node.name)?.[1] ?? (at?.keyword === "FROM" ? this.#imageOf(at) : undefined);
    if (image !== undefined) return cause("base_image_missing", { image, reason });
    const code = /exit code: (\d+)$/.exec(error)?.[1];
    const end = code === undefined ? { reason } : { exitCode: Number(code), log: node.log };
    return instructionFailure(this.#script, at, end, this.#log.masked(node.name));
  }

  /** The client shows the place in the file below a heading of its own: `Dockerfile:7`. */
  #line(): number | undefined {
    const heading = this.told.findLast((text) => /^\S+:\d+$/.test(text));
    return heading === undefined ? undefined : Number(heading.slice(heading.lastIndexOf(":") + 1));
  }

  #instructionAt(line: number | undefined): ScriptInstruction | undefined {
    return this.#script.instructions.find((one) => one.line === line);
  }

  #imageOf({ rest }: ScriptInstruction): string | undefined {
    return /^(?:--\S+\s+)*(\S+)/.exec(rest)?.[1];
  }

  /** What was refused before there was a graph: the file cannot be read. */
  #unread(reason: string): Cause | undefined {
    const line = this.#line();
    if (this.#script.own === undefined || reason === "") return undefined;
    return cause("dockerfile_unusable", {
      where: this.#script.own,
      reason: line === undefined || /\bline \d/.test(reason) ? reason : `line ${String(line)}: ${reason}`,
    });
  }
}

/** undefined for what only looks like progress. */
function parse(text: string): Status | undefined {
  try {
    return JSON.parse(text) as Status;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
