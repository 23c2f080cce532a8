// Writes tar archives whose bytes depend on nothing but names, contents and executable bits: no times, no owners. Reads none.

export type TarItem =
  | { readonly type: "directory"; readonly path: string }
  | { readonly type: "symlink"; readonly path: string; readonly target: string }
  /** `content` must give exactly `size` bytes; it is read once. */
  | {
      readonly type: "file";
      readonly path: string;
      readonly executable: boolean;
      readonly size: number;
      readonly content: Buffer | AsyncIterable<Buffer>;
    };

const block = 512;
const chunkSize = 256 * 1024;

/** The archive as chunks of about 256 KiB. Items come in the order in which they are written (see `comparePaths`). Throws when a content has another size than announced. */
export async function* writeTar(items: Iterable<TarItem> | AsyncIterable<TarItem>): AsyncGenerator<Buffer> {
  let pending: Buffer[] = [];
  let length = 0;
  const take = (): Buffer => {
    const chunk = Buffer.concat(pending, length);
    pending = [];
    length = 0;
    return chunk;
  };
  const add = (data: Buffer): void => {
    pending.push(data);
    length += data.length;
  };
  for await (const item of items) {
    for (const header of headersOf(item)) add(header);
    if (item.type === "file") {
      let written = 0;
      for await (const data of Buffer.isBuffer(item.content) ? [item.content] : item.content) {
        written += data.length;
        add(data);
        if (length >= chunkSize) yield take();
      }
      if (written !== item.size) throw new Error(`${item.path} has ${String(written)} bytes instead of ${String(item.size)}`);
      add(padding(item.size));
    }
    if (length >= chunkSize) yield take();
  }
  add(Buffer.alloc(2 * block));
  yield take();
}

function padding(size: number): Buffer {
  return Buffer.alloc((block - (size % block)) % block);
}

function headersOf(item: TarItem): Buffer[] {
  const name = item.type === "directory" ? `${item.path}/` : item.path;
  const link = item.type === "symlink" ? item.target : "";
  const records = [...(fits(name) ? [] : [paxRecord("path", name)]), ...(fits(link) ? [] : [paxRecord("linkpath", link)])];
  const headers: Buffer[] = [];
  if (records.length > 0) {
    const body = Buffer.concat(records);
    headers.push(header("PaxHeader", "x", 0o644, body.length, ""), body, padding(body.length));
  }
  switch (item.type) {
    case "directory":
      headers.push(header(name, "5", 0o755, 0, ""));
      break;
    case "symlink":
      headers.push(header(name, "2", 0o777, 0, link));
      break;
    case "file":
      headers.push(header(name, "0", item.executable ? 0o755 : 0o644, item.size, ""));
      break;
  }
  return headers;
}

/** Whether a text goes into the 100 bytes of a plain header; anything else gets a pax record (POSIX.1-2001, pax Interchange Format). */
function fits(text: string): boolean {
  return text.length <= 100 && /^[\x20-\x7e]*$/.test(text);
}

function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  const size = Buffer.byteLength(rest);
  let length = size + String(size).length;
  if (size + String(length).length !== length) length = size + String(length).length;
  return Buffer.from(`${String(length)}${rest}`);
}

function header(name: string, type: string, mode: number, size: number, link: string): Buffer {
  const buffer = Buffer.alloc(block);
  buffer.write(fits(name) ? name : "PaxName", 0, 100, "latin1");
  octal(buffer, mode, 100, 8);
  octal(buffer, 0, 108, 8);
  octal(buffer, 0, 116, 8);
  octal(buffer, size, 124, 12);
  octal(buffer, 0, 136, 12);
  buffer.write(" ".repeat(8), 148, "latin1");
  buffer.write(type, 156, "latin1");
  buffer.write(fits(link) ? link : "PaxLink", 157, 100, "latin1");
  buffer.write("ustar\x0000", 257, "latin1");
  let sum = 0;
  for (const byte of buffer) sum += byte;
  buffer.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return buffer;
}

/** Sizes stay below 8 GiB, the bound of eleven octal digits: sources and bundles are bounded far below it. */
function octal(buffer: Buffer, value: number, offset: number, length: number): void {
  buffer.write(value.toString(8).padStart(length - 1, "0"), offset, length - 1, "latin1");
}
