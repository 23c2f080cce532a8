// One large body through the router, down and up: how fast, and whether memory stays flat.
import { once } from "node:events";
import { connect } from "node:net";
import { cores, cpuMicros, memory, start } from "./processes.ts";
import { berth, freePort } from "./proxies.ts";
import { join } from "node:path";

export interface Streamed {
  readonly name: string;
  readonly bytes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Bytes by which the routers' resident memory rose above what it was before, at most. Node reads an upload into ever new buffers, and V8 lets some 64 MB of them pile up before it collects. */
  readonly grown: number;
  /** Bytes by which it still rose when a fifth of the time was over: what would go on for a larger body. */
  readonly grewOn: number;
}

const piece = Buffer.alloc(64 * 1024, "x");

export async function stream({
  mebibytes,
  note,
}: {
  readonly mebibytes: number;
  readonly note: (text: string) => void;
}): Promise<Streamed[]> {
  await using stack = new AsyncDisposableStack();
  const port = await freePort();
  stack.use(start(cores.rest, process.execPath, [join(import.meta.dirname, "bodies.ts"), String(port)]));
  const proxy = stack.use(await berth(port));
  const bytes = mebibytes * 1024 ** 2;
  const found: Streamed[] = [];
  for (const [name, run] of [
    ["down", down],
    ["up", up],
  ] as const)
    for (const form of ["with a length", "chunked"] as const) {
      const before = memory(proxy.workers).resident;
      const seen = [before];
      const watch = setInterval(() => {
        seen.push(memory(proxy.workers).resident);
      }, 20);
      const cpu = cpuMicros(proxy.workers);
      const began = performance.now();
      try {
        await run(proxy.port, proxy.host, bytes, form === "chunked");
      } finally {
        clearInterval(watch);
      }
      const one = {
        name: `${String(mebibytes)} MiB ${name}, ${form}`,
        bytes,
        seconds: (performance.now() - began) / 1000,
        cpuSeconds: (cpuMicros(proxy.workers) - cpu) / 1e6,
        grown: Math.max(...seen) - before,
        grewOn: Math.max(...seen) - Math.max(...seen.slice(0, Math.ceil(seen.length / 5))),
      };
      note(`${one.name}: ${one.seconds.toFixed(1)} s`);
      found.push(one);
    }
  return found;
}

async function down(port: number, host: string, bytes: number, chunked: boolean): Promise<void> {
  const socket = connect({
    port,
    host: "127.0.0.1",
    onread: {
      buffer: Buffer.alloc(256 * 1024),
      callback: (length) => {
        got += length;
        return true;
      },
    },
  });
  let got = 0;
  socket.write(`GET /${chunked ? "chunked" : "plain"}/${String(bytes)} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
  await once(socket, "close");
  if (got < bytes) throw new Error(`only ${String(got)} of ${String(bytes)} bytes came`);
}

async function up(port: number, host: string, bytes: number, chunked: boolean): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.write(
    `PUT / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n${chunked ? "transfer-encoding: chunked" : `content-length: ${String(bytes)}`}\r\n\r\n`,
  );
  const form = chunked ? Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]) : piece;
  for (let sent = 0; sent < bytes; sent += piece.length) if (!socket.write(form)) await once(socket, "drain");
  if (chunked) socket.write("0\r\n\r\n");
  let text = "";
  for await (const chunk of socket.setEncoding("latin1")) text += String(chunk);
  if (!text.endsWith(`${String(bytes)} bytes`)) throw new Error(`the endpoint says: ${text.slice(-80)}`);
}

export function streamTable(found: readonly Streamed[]): string[][] {
  return [
    ["one body", "seconds", "MB/s", "CPU seconds", "memory grew, MB", "of that after a fifth"],
    ...found.map(({ name, bytes, seconds, cpuSeconds, grown, grewOn }) => [
      name,
      seconds.toFixed(1),
      (bytes / 1e6 / seconds).toFixed(0),
      cpuSeconds.toFixed(1),
      (grown / 1e6).toFixed(0),
      (grewOn / 1e6).toFixed(0),
    ]),
  ];
}
