// A name server for tests: every host is this machine, except those that are hidden, and TXT records are read from a file (RFC 1035, only what a resolver asks here).
import { createServer, type Socket } from "node:net";
import { listening } from "../../edge/testing/harness.ts";
import { recordsIn } from "./pebble-records.ts";

const types = { a: 1, txt: 16 } as const;

export interface Names {
  readonly port: number;
  hide(hosts: readonly string[]): void;
  lead(host: string, address: string): void;
  close(): void;
}

/** `records`: a JSON file, name -> values of TXT records. */
export async function startNames(records: string): Promise<Names> {
  const hidden = new Set<string>();
  const elsewhere = new Map<string, string>();
  const server = createServer((socket) => {
    void converse(socket, (query) => answerTo(query, { hidden, elsewhere, records })).catch(() => socket.destroy());
  });
  return {
    port: await listening(server),
    hide(hosts) {
      for (const host of hosts) hidden.add(host);
    },
    lead(host, address) {
      elsewhere.set(host, address);
    },
    close() {
      server.close();
    },
  };
}

/** Over TCP, as Pebble asks: each message has its length before it (RFC 1035, 4.2.2). */
async function converse(socket: Socket, answer: (query: Buffer) => Promise<Buffer>): Promise<void> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
      const end = 2 + bytes.readUInt16BE(0);
      const reply = await answer(bytes.subarray(2, end));
      const length = Buffer.alloc(2);
      length.writeUInt16BE(reply.length);
      socket.write(Buffer.concat([length, reply]));
      bytes = bytes.subarray(end);
    }
  }
}

interface Zone {
  readonly hidden: ReadonlySet<string>;
  readonly elsewhere: ReadonlyMap<string, string>;
  readonly records: string;
}

async function answerTo(query: Buffer, { hidden, elsewhere, records }: Zone): Promise<Buffer> {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += length + 1;
  }
  const name = labels.join(".").toLowerCase();
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(12, at + 5);
  const missing = hidden.has(name);
  const data = missing
    ? []
    : type === types.a
      ? [Buffer.from((elsewhere.get(name) ?? "127.0.0.1").split(".").map(Number))]
      : type === types.txt
        ? await texts(records, name)
        : [];
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  // An answer with authority; 3 = there is no such name.
  head.writeUInt16BE(0x8580 | (missing ? 3 : 0), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(data.length, 6);
  return Buffer.concat([head, question, ...data.map((one) => record(type, one))]);
}

/** Of the name in the question, for no time at all. */
function record(type: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(12);
  fixed.writeUInt16BE(0xc00c, 0);
  fixed.writeUInt16BE(type, 2);
  fixed.writeUInt16BE(1, 4);
  fixed.writeUInt16BE(data.length, 10);
  return Buffer.concat([fixed, data]);
}

async function texts(file: string, name: string): Promise<Buffer[]> {
  return ((await recordsIn(file))[name] ?? []).map((value) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]));
}
