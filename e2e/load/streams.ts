// Clients that stay: WebSockets and event streams through the router, each opened anew when it ends. Every end is judged: it must be the program's own, whole and
// clean, and not earlier than the component's drain timeout allows. Nothing here ends a stream by itself.
import { randomBytes } from "node:crypto";
import { request, type ClientRequest } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

export type StreamKind = "websocket" | "events";

/** How a stream went that ended. Times are Unix ms. */
export interface EndedStream {
  readonly kind: StreamKind;
  /** Who served it; "" when it never began. */
  readonly instance: string;
  readonly ended: number;
  /** Messages that came, without a gap. */
  readonly messages: number;
  /** undefined: cleanly. Otherwise what was wrong with the end. */
  readonly fault: string | undefined;
}

export interface Streams {
  readonly ended: readonly EndedStream[];
  /** Instances that serve streams now; undefined for one that is just being opened. */
  readonly instances: readonly (string | undefined)[];
  /** Ends all of them from this side; those are not judged. */
  stop(): Promise<void>;
}

export interface StreamsOptions {
  readonly host: string;
  readonly port: number;
  readonly target: string;
  /** Of each kind. */
  readonly count: number;
}

interface Seat {
  instance: string | undefined;
}

/** Keeps so many streams of each kind open until stopped. The program is `streaming` of programs.ts: numbered messages that name the instance. */
export function startStreams(options: StreamsOptions): Streams {
  const ended: EndedStream[] = [];
  const over = new AbortController();
  const seats: Seat[] = [];
  const keep = async (kind: StreamKind): Promise<void> => {
    const seat: Seat = { instance: undefined };
    seats.push(seat);
    while (!over.signal.aborted) {
      const one = await stream(kind, options, seat, over.signal);
      seat.instance = undefined;
      if (one === undefined) return;
      ended.push(one);
      // One that could not begin would otherwise be tried thousands of times.
      if (one.messages === 0) await delay(100);
    }
  };
  const all = Promise.all((["websocket", "events"] as const).flatMap((kind) => Array.from({ length: options.count }, () => keep(kind))));
  return {
    ended,
    get instances() {
      return seats.map(({ instance }) => instance);
    },
    async stop() {
      over.abort();
      await all;
    },
  };
}

/** One stream from its opening to its end; undefined when it was ended from this side. */
async function stream(kind: StreamKind, options: StreamsOptions, seat: Seat, over: AbortSignal): Promise<EndedStream | undefined> {
  const seen = { instance: "", messages: 0, gap: undefined as string | undefined };
  const onMessage = (text: string): void => {
    const [instance = "", number = ""] = text.split(" ");
    if (Number(number) !== seen.messages || (seen.instance !== "" && seen.instance !== instance))
      seen.gap ??= `message ${String(seen.messages)} of ${seen.instance} was ${text}`;
    seen.instance = instance;
    seen.messages += 1;
    seat.instance = instance;
  };
  const fault = await (kind === "websocket" ? webSocket : eventStream)(options, onMessage, over);
  if (over.aborted) return undefined;
  return { kind, instance: seen.instance, messages: seen.messages, ended: Date.now(), fault: seen.gap ?? fault };
}

/** Resolves at its end: undefined when it was clean, otherwise with what was wrong. */
function eventStream(options: StreamsOptions, onMessage: (text: string) => void, over: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = ask(options, "/events", {});
    const last = { text: "" };
    asked.on("response", (answer) => {
      if (answer.statusCode !== 200) resolve(`answered ${String(answer.statusCode)}`);
      let buffer = "";
      answer.setEncoding("utf8").on("data", (text: string) => {
        const events = (buffer + text).split("\n\n");
        buffer = events.pop() ?? "";
        for (const event of events) {
          last.text = event.replace(/^data: /, "");
          if (last.text !== "bye") onMessage(last.text);
        }
      });
      answer
        .on("error", () => undefined)
        .on("close", () => {
          if (!answer.complete) resolve("cut: its end never came");
          else if (buffer !== "") resolve(`ended inside an event: ${buffer.slice(0, 40)}`);
          else resolve(last.text === "bye" ? undefined : `its last event was ${last.text.slice(0, 40)}`);
        });
    });
    endWith(asked, over, resolve);
  });
}

function webSocket(options: StreamsOptions, onMessage: (text: string) => void, over: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = ask(options, "/socket", {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": randomBytes(16).toString("base64"),
    });
    asked.on("response", (answer) => {
      answer.resume();
      resolve(`answered ${String(answer.statusCode)}`);
    });
    asked.on("upgrade", (_answer, socket, head) => {
      over.addEventListener("abort", () => socket.destroy(), { once: true });
      readFrames(socket, head, onMessage).then(resolve, (error: unknown) => {
        resolve(String(error));
      });
    });
    endWith(asked, over, resolve);
  });
}

/** Text frames until a close frame, which is answered, and the other side's end of the connection (RFC 6455, 7.1.1: the server closes it first). */
function readFrames(socket: Duplex, head: Buffer, onMessage: (text: string) => void): Promise<string | undefined> {
  return new Promise((resolve) => {
    let buffer = head;
    let code: number | undefined;
    let finished = false;
    const read = (): void => {
      // The fixture's frames are short and unmasked.
      while (buffer.length >= 2 && buffer.length >= 2 + (buffer[1] ?? 0)) {
        const length = buffer[1] ?? 0;
        const payload = buffer.subarray(2, 2 + length);
        if ((buffer[0] ?? 0) === 0x81) onMessage(payload.toString("utf8"));
        else {
          code = payload.readUInt16BE(0);
          // With a mask of zeros, as clients must mask.
          socket.write(Buffer.concat([Buffer.from([0x88, 0x82, 0, 0, 0, 0]), payload]));
        }
        buffer = buffer.subarray(2 + length);
      }
    };
    socket
      .on("data", (chunk: Buffer) => {
        buffer = Buffer.concat([buffer, chunk]);
        read();
      })
      .on("end", () => {
        finished = true;
        socket.end();
      })
      .on("error", (error: NodeJS.ErrnoException) => {
        resolve(`broke off: ${error.code ?? error.message}`);
      })
      .on("close", () => {
        if (!finished) resolve("broke off without an end");
        else if (buffer.length > 0) resolve("ended inside a frame");
        else resolve(code === 1001 ? undefined : `ended with close code ${String(code)}`);
      });
    read();
  });
}

function ask({ host, port, target }: StreamsOptions, path: string, headers: Record<string, string>): ClientRequest {
  return request({ host, port, path, headers: { host: target, ...headers }, agent: false });
}

function endWith(asked: ClientRequest, over: AbortSignal, resolve: (fault: string) => void): void {
  const end = (): void => {
    asked.destroy();
    resolve("ended from this side");
  };
  if (over.aborted) return end();
  over.addEventListener("abort", end, { once: true });
  asked
    .on("error", (error: NodeJS.ErrnoException) => {
      resolve(`could not be opened: ${error.code ?? error.message}`);
    })
    .on("close", () => {
      over.removeEventListener("abort", end);
    })
    .end();
}
