// Keeps the contents of an archive's files until they can be written in order: in memory while they are few, in one nameless file after that.
// Never leaves a file behind, not even when the process is killed: the file has no name from the moment it is opened.
import { open, unlink, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

const memoryLimit = 8 * 1024 * 1024;
const readSize = 256 * 1024;

export class Spool {
  readonly #dir: string;
  readonly #name: string;
  #memory: Buffer[] = [];
  #file: FileHandle | undefined;
  #size = 0;

  /** `name` must be new in `dir`. */
  constructor(dir: string, name: string) {
    this.#dir = dir;
    this.#name = name;
  }

  get size(): number {
    return this.#size;
  }

  async append(data: Buffer): Promise<void> {
    this.#size += data.length;
    if (this.#file === undefined) {
      this.#memory.push(data);
      if (this.#size > memoryLimit) await this.#moveToFile();
      return;
    }
    await writeAll(this.#file, data);
  }

  async #moveToFile(): Promise<void> {
    const path = join(this.#dir, this.#name);
    this.#file = await open(path, "wx+", 0o600);
    await unlink(path);
    for (const data of this.#memory) await writeAll(this.#file, data);
    this.#memory = [];
  }

  /** Ends the writing; has to be called once before `read`. */
  seal(): void {
    if (this.#file === undefined) this.#memory = [Buffer.concat(this.#memory)];
  }

  async *read(offset: number, length: number): AsyncGenerator<Buffer> {
    if (this.#file === undefined) {
      yield (this.#memory[0] ?? Buffer.alloc(0)).subarray(offset, offset + length);
      return;
    }
    let done = 0;
    while (done < length) {
      const buffer = Buffer.allocUnsafe(Math.min(readSize, length - done));
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, offset + done);
      if (bytesRead === 0) throw new Error("the spool file is shorter than what was written");
      done += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  async dispose(): Promise<void> {
    this.#memory = [];
    await this.#file?.close();
    this.#file = undefined;
  }
}

async function writeAll(file: FileHandle, data: Buffer): Promise<void> {
  let done = 0;
  while (done < data.length) done += (await file.write(data, done, data.length - done)).bytesWritten;
}
