// A process that sends requests until it is told to stop, and keeps a record of everything that was not answered as it should be. It judges nothing.
import { setTimeout as delay } from "node:timers/promises";
import { randomFrom, type Random } from "./random.ts";
import { dial, Wire, type Request } from "./wire.ts";

export type Kind = "get" | "post" | "upload" | "stream";
export interface LoadPlan {
  readonly seed: string;
  readonly host: string;
  readonly port: number;
  /** Host headers; each worker stays with one. */
  readonly targets: readonly string[];
  /** Connections at once, each with one request at a time. */
  readonly connections: number;
  readonly kinds: Readonly<Record<Kind, number>>;
  /** Longest pause between two requests of one connection, ms. */
  readonly pause: number;
  /** ms that a reply may take. */
  readonly within: number;
}

/** One request that was not answered with 200 and the right body. Times are Unix ms with fractions. */
export interface Fault {
  readonly kind: Kind;
  readonly target: string;
  readonly id: string;
  readonly start: number;
  readonly end: number;
  readonly how: "refused" | "closed" | "reset" | "silent" | "garbled" | "status" | "wrong";
  readonly detail: string;
  readonly status?: number;
  readonly received: number;
  /** The connection had carried a reply before. */
  readonly reused: boolean;
  /** This end's port of the connection; undefined when none was made. */
  readonly port: number | undefined;
}
export interface Report {
  readonly requests: number;
  readonly byKind: Readonly<Record<Kind, number>>;
  readonly faults: readonly Fault[];
  readonly slowest: number;
  readonly versions: Readonly<Record<string, readonly string[]>>;
  readonly connections: number;
}
export type FromGenerator =
  { readonly type: "progress"; readonly requests: number; readonly faults: number } | { readonly type: "report"; readonly report: Report };
export type ToGenerator = { readonly type: "start"; readonly plan: LoadPlan } | { readonly type: "stop" };

/** Beyond this many the test has failed long ago. */
const mostFaults = 5_000;
const now = (): number => performance.timeOrigin + performance.now();

class Generator {
  readonly #plan: LoadPlan;
  readonly #faults: Fault[] = [];
  readonly #byKind: Record<Kind, number> = { get: 0, post: 0, upload: 0, stream: 0 };
  readonly #versions = new Map<string, Set<string>>();
  #requests = 0;
  #slowest = 0;
  #connections = 0;
  #stopping = false;

  constructor(plan: LoadPlan) {
    this.#plan = plan;
  }

  async run(): Promise<Report> {
    const chance = randomFrom(this.#plan.seed);
    await Promise.all(Array.from({ length: this.#plan.connections }, (_, index) => this.#work(index, chance.fork(String(index)))));
    return {
      requests: this.#requests,
      byKind: this.#byKind,
      faults: this.#faults,
      slowest: this.#slowest,
      connections: this.#connections,
      versions: Object.fromEntries([...this.#versions].map(([target, versions]) => [target, [...versions].sort()])),
    };
  }

  stop(): void {
    this.#stopping = true;
  }

  get progress(): FromGenerator {
    return { type: "progress", requests: this.#requests, faults: this.#faults.length };
  }

  async #work(index: number, chance: Random): Promise<void> {
    const { targets, pause } = this.#plan;
    const target = targets[index % targets.length] ?? "";
    let wire: Wire | undefined;
    for (let number = 0; !this.#stopping; number += 1) {
      wire = await this.#one(wire, target, `load-${this.#plan.seed}.${String(index)}.${String(number)}`, chance);
      if (pause > 0) await delay(chance.next() * pause);
    }
    wire?.close();
  }

  /** The connection, if it can be used again. */
  async #one(kept: Wire | undefined, target: string, id: string, chance: Random): Promise<Wire | undefined> {
    const kind = chance.weighted(Object.entries(this.#plan.kinds) as [Kind, number][]);
    const { request, expected } = requestOf(kind, target, id, chance, this.#plan.within);
    const start = now();
    const wire = kept === undefined || kept.gone ? await this.#dial() : kept;
    const fault = (fields: Pick<Fault, "how" | "detail" | "received" | "status">): undefined => {
      if (this.#faults.length < mostFaults)
        this.#faults.push({
          kind,
          target,
          id,
          start,
          end: now(),
          reused: wire instanceof Wire && wire.replies > 0,
          port: wire instanceof Wire ? wire.port : undefined,
          ...fields,
        });
      return undefined;
    };
    this.#requests += 1;
    if (!(wire instanceof Wire)) {
      // Nobody listens: asking at once again would only count the same fact many times.
      fault({ how: wire.how, detail: wire.detail, received: 0 });
      await delay(20);
      return undefined;
    }
    const outcome = await wire.exchange(request);
    this.#slowest = Math.max(this.#slowest, now() - start);
    if (!outcome.ok) return fault({ how: outcome.broken.how, detail: outcome.broken.detail, received: outcome.broken.received });
    const { status, body, last } = outcome.reply;
    const [answer = "", version = ""] = body.split("\n");
    if (status !== 200) fault({ how: "status", status, detail: body.slice(0, 160), received: body.length });
    else if (answer !== expected)
      fault({ how: "wrong", status, detail: `wanted ${expected}, got ${body.slice(0, 160)}`, received: body.length });
    else {
      this.#byKind[kind] += 1;
      this.#versions.set(target, (this.#versions.get(target) ?? new Set()).add(version));
    }
    return last ? undefined : wire;
  }

  #dial(): ReturnType<typeof dial> {
    this.#connections += 1;
    return dial(this.#plan.host, this.#plan.port);
  }
}

/** The fixture's programs (programs.ts) answer with a line that proves that they read this very request, and a line with their version. */
function requestOf(
  kind: Kind,
  host: string,
  id: string,
  chance: Random,
  within: number,
): { readonly request: Request; readonly expected: string } {
  const close = chance.next() < 0.02 ? "connection: close\r\n" : "";
  const head = (method: string, path: string, more = ""): string =>
    `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nx-request-id: ${id}\r\n${close}${more}\r\n`;
  switch (kind) {
    case "get":
      return { request: { head: head("GET", `/echo?id=${id}`), within }, expected: `${id} 0` };
    case "post": {
      const body = "x".repeat(chance.between(1, 2_000));
      return {
        request: { head: `${head("POST", `/echo?id=${id}`, `content-length: ${String(body.length)}\r\n`)}${body}`, within },
        expected: `${id} ${String(body.length)}`,
      };
    }
    case "upload": {
      const pieces = Array.from({ length: chance.between(2, 5) }, () => ({
        after: chance.between(5, 120),
        text: "y".repeat(chance.between(1, 4_000)),
      }));
      const sent = pieces.reduce((sum, { text }) => sum + text.length, 0);
      const chunks = pieces.map(({ after, text }, at) => ({
        after,
        text: `${text.length.toString(16)}\r\n${text}\r\n${at === pieces.length - 1 ? "0\r\n\r\n" : ""}`,
      }));
      return {
        request: { head: head("POST", `/echo?id=${id}`, "transfer-encoding: chunked\r\n"), pieces: chunks, within },
        expected: `${id} ${String(sent)}`,
      };
    }
    case "stream":
      return {
        request: {
          head: head("GET", `/stream?id=${id}&pieces=${String(chance.between(2, 6))}&every=${String(chance.between(5, 80))}`),
          within,
        },
        expected: `${id} 0`,
      };
    default:
      return kind satisfies never;
  }
}

function main(): void {
  const send = (message: FromGenerator): void => {
    process.send?.(message);
  };
  let generator: Generator | undefined;
  process.on("message", (message: ToGenerator) => {
    if (message.type === "stop") return generator?.stop();
    const started = new Generator(message.plan);
    generator = started;
    const timer = setInterval(() => {
      send(started.progress);
    }, 100);
    void started.run().then((report) => {
      clearInterval(timer);
      send({ type: "report", report });
      process.disconnect();
    });
  });
  // Whoever started it is gone.
  process.on("disconnect", () => {
    process.exit(0);
  });
}

if (process.send !== undefined) main();
