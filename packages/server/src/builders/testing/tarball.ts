// Writes archives for tests, honest and hostile: every field of every header is the test's to choose.
import { Readable } from "node:stream";
import { pack, type Header } from "tar-stream";

export interface Entry extends Partial<Omit<Header, "name">> {
  readonly name: string;
  readonly body?: string | Buffer;
}

/** The archive in the order given. */
export async function tarball(entries: readonly Entry[]): Promise<Buffer> {
  const packer = pack();
  const chunks: Buffer[] = [];
  const reading = (async () => {
    for await (const chunk of packer as AsyncIterable<Buffer>) chunks.push(chunk);
  })();
  for (const { body, ...header } of entries) {
    if (body === undefined) packer.entry(header);
    else packer.entry({ ...header, size: Buffer.byteLength(body) }, body);
  }
  packer.finalize();
  await reading;
  return Buffer.concat(chunks);
}

/** Writes this size into the header of the archive's first entry, whatever follows it. */
export function claimSize(archive: Buffer, bytes: number): void {
  archive.write(bytes.toString(8).padStart(11, "0"), 124, "latin1");
  mendChecksum(archive);
}

/** Makes the checksum of the first header fit again to what was written into it. */
export function mendChecksum(archive: Buffer): void {
  // While it is summed up, the checksum itself counts as spaces (POSIX.1-1988, ustar).
  archive.fill(" ", 148, 156);
  let sum = 0;
  for (const byte of archive.subarray(0, 512)) sum += byte;
  archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}

export function streamOf(data: Buffer, chunkSize = 64 * 1024): Readable {
  const chunks: Buffer[] = [];
  for (let at = 0; at < data.length; at += chunkSize) chunks.push(data.subarray(at, at + chunkSize));
  return Readable.from(chunks, { objectMode: false });
}

/** A tar of these files: path -> content; a path that ends with `*` is executable. */
export async function folderTar(files: Readonly<Record<string, string | Buffer>>): Promise<Buffer> {
  return tarball(
    Object.entries(files).map(([path, body]) => ({ name: path.replace(/\*$/, ""), body, mode: path.endsWith("*") ? 0o755 : 0o644 })),
  );
}
