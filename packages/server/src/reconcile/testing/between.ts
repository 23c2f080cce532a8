// A door before the authority, for tests: it passes on what is said, counts it, and can stop a conversation at any sentence, or answer in the authority's place.
import { once } from "node:events";
import { createServer, request, type RequestOptions } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { testCertificate } from "../../edge/testing/certificates.ts";
import type { Pebble } from "./pebble.ts";

/** One exchange; `url` is the path that was asked for, `said` what was said in the signed body, `status` what the authority answered. */
export interface Sentence {
  readonly method: string;
  readonly url: string;
  readonly said: string;
  status: number;
}
/** What is done with a sentence instead of passing it on as it is. */
export interface Stop {
  /** Resolves when the authority has answered the sentence that is waited for, and nobody has heard the answer yet. */
  readonly reached: Promise<void>;
  /** The answer is dropped, with the connection. */
  drop(): void;
}

type Instead =
  | "cut"
  | { readonly status: number; readonly problem: object; readonly headers: Record<string, string> }
  | { readonly change: (text: string) => string };

export class Between implements AsyncDisposable {
  readonly #pebble: Pebble;
  readonly #server;
  readonly sentences: Sentence[] = [];
  #stop: { readonly matches: (one: Sentence) => boolean; readonly reach: () => void; readonly dropped: Promise<void> } | undefined;
  #instead: { readonly part: string; readonly how: Instead } | undefined;

  private constructor(pebble: Pebble) {
    this.#pebble = pebble;
    const door = testCertificate({ hosts: ["localhost"], issuer: pebble.authority });
    this.#server = createServer({ key: door.key, cert: door.certificate }, (req, res) => {
      this.#pass(req, res).catch(() => res.destroy());
    });
  }

  static async start(pebble: Pebble): Promise<Between> {
    const between = new Between(pebble);
    between.#server.listen(0, "127.0.0.1");
    await once(between.#server, "listening");
    return between;
  }

  get directory(): string {
    return `https://localhost:${String((this.#server.address() as AddressInfo).port)}/dir`;
  }

  /** How often that was said, and the authority took it. `about`: only where it is in the body, as the host of an order is. */
  count(part: string, about = ""): number {
    return this.sentences.filter(({ url, said, status }) => url.includes(part) && said.includes(about) && status >= 200 && status < 300)
      .length;
  }

  /** At the next sentence whose path has this, once the authority has answered it. */
  stopAfter(part: string): Stop {
    const reached = Promise.withResolvers<void>();
    const dropped = Promise.withResolvers<void>();
    this.#stop = { matches: ({ url }) => url.includes(part), reach: reached.resolve, dropped: dropped.promise };
    return { reached: reached.promise, drop: dropped.resolve };
  }

  /** Stops nothing any more. */
  passOn(): void {
    this.#stop = undefined;
  }

  /** Answers in the authority's place, until `allow`. */
  refuse(part: string, status: number, problem: object, headers: Record<string, string> = {}): void {
    this.#instead = { part, how: { status, problem, headers } };
  }

  /** Breaks the connection, until `allow`. */
  cut(part: string): void {
    this.#instead = { part, how: "cut" };
  }

  /** Changes what the authority answers, until `allow`. */
  rewrite(part: string, change: (text: string) => string): void {
    this.#instead = { part, how: { change } };
  }

  allow(): void {
    this.#instead = undefined;
  }

  async #pass(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const sentence: Sentence = { method: req.method ?? "", url: req.url ?? "", said: saidIn(Buffer.concat(chunks)), status: 0 };
    this.sentences.push(sentence);
    const how = this.#instead !== undefined && sentence.url.includes(this.#instead.part) ? this.#instead.how : undefined;
    if (how === "cut") {
      req.socket.destroy();
      return;
    }
    if (how !== undefined && "problem" in how) {
      res.writeHead(how.status, { "content-type": "application/problem+json", ...how.headers }).end(JSON.stringify(how.problem));
      return;
    }
    const answer = await ask(
      {
        host: "127.0.0.1",
        port: this.#pebble.port,
        servername: "localhost",
        ca: this.#pebble.authority.certificate,
        method: sentence.method,
        path: sentence.url,
        headers: req.headers,
        agent: false,
      },
      Buffer.concat(chunks),
    );
    sentence.status = answer.status;
    const stop = this.#stop;
    if (stop?.matches(sentence) === true && answer.status < 300) {
      this.#stop = undefined;
      stop.reach();
      await stop.dropped;
      res.destroy();
      return;
    }
    const body = how === undefined || answer.status >= 300 ? answer.body : Buffer.from(how.change(answer.body.toString("utf8")));
    res.writeHead(answer.status, { ...answer.headers, "content-length": String(body.length) }).end(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

/** RFC 8555, 6.2: what is said is signed, and stands in the payload. */
function saidIn(body: Buffer): string {
  const { payload = "" } = body.length === 0 ? {} : (JSON.parse(body.toString("utf8")) as { readonly payload?: string });
  return Buffer.from(payload, "base64url").toString("utf8");
}

function ask(options: RequestOptions, body: Buffer): Promise<{ status: number; headers: IncomingMessage["headers"]; body: Buffer }> {
  return new Promise((resolve, reject) => {
    request(options, (answer) => {
      const chunks: Buffer[] = [];
      answer
        .on("data", (chunk: Buffer) => chunks.push(chunk))
        .on("end", () => {
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) });
        })
        .on("error", reject);
    })
      .on("error", reject)
      .end(body);
  });
}
