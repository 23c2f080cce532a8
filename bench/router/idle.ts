// What idle clients cost: many keep-alive connections on which one request was answered and then nothing happens.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { load } from "./load.ts";
import { memory, type Memory } from "./processes.ts";
import { backEnd, berth } from "./proxies.ts";
import { mebibytes } from "./text.ts";

export interface Idle {
  readonly connections: number;
  readonly workers: number;
  /** Of all routers after some work, and with the idle connections. */
  readonly before: Memory;
  readonly with: Memory;
}

/** Connections that are opened at the same time. */
const atOnce = 100;
/** A source address has some 28,000 ports for one destination; a few addresses keep clear of those that still linger. */
const sources = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"];

export async function idle({ connections, note }: { readonly connections: number; readonly note: (text: string) => void }): Promise<Idle> {
  await using stack = new AsyncDisposableStack();
  const back = stack.use(await backEnd());
  const proxy = stack.use(await berth(back.port));
  // A router that has worked is larger than one that has not, whoever is connected.
  await load(proxy, { connections: 64, seconds: 5 });
  await sleep(2_000);
  const before = memory(proxy.workers);
  const sockets: Socket[] = [];
  try {
    while (sockets.length < connections) {
      const some = Math.min(atOnce, connections - sockets.length);
      sockets.push(
        ...(await Promise.all(
          Array.from({ length: some }, (_, index) =>
            answered(proxy.port, proxy.host, sources[(sockets.length + index) % sources.length] ?? "127.0.0.1"),
          ),
        )),
      );
    }
    const open = sockets.filter((socket) => !socket.closed).length;
    if (open < connections) throw new Error(`only ${String(open)} of ${String(connections)} connections are open`);
    // They come to rest, and what the requests themselves left behind goes with the next collections.
    await sleep(20_000);
    note(`${String(open)} idle connections over ${String(proxy.workers.length)} routers`);
    return { connections, workers: proxy.workers.length, before, with: memory(proxy.workers) };
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

async function answered(port: number, host: string, localAddress: string): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  socket.write(`GET /x HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
  let bytes = 0;
  while (bytes < 1024) bytes += ((await once(socket, "data")) as [Buffer])[0].length;
  socket.pause();
  return socket;
}

export function idleTable({ connections, workers, before, with: after }: Idle): string[][] {
  return [
    [`${String(workers)} routers`, "RSS MiB", "RSS, shared pages once, MiB"],
    ["after some work", mebibytes(before.resident), mebibytes(before.together)],
    [`with ${String(connections)} idle connections`, mebibytes(after.resident), mebibytes(after.together)],
    [
      "bytes per connection",
      String(Math.round((after.resident - before.resident) / connections)),
      String(Math.round((after.together - before.together) / connections)),
    ],
  ];
}
