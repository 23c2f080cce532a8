// Volumes of the engine in memory: the archive that one was filled from is all that there is of its content.
import { Readable } from "node:stream";
import { BerthError } from "../core/errors.ts";
import type { VolumePort, VolumeRef } from "./engine.ts";

export class FakeVolumes implements VolumePort {
  readonly #users: (stack: string, name: string) => string[];
  readonly #names = new Map<string, Set<string>>();
  /** By stack and volume. */
  readonly #contents = new Map<string, Buffer>();

  /** `users`: the components whose instances use a volume now. */
  constructor(users: (stack: string, name: string) => string[]) {
    this.#users = users;
  }

  /** Makes those that are not there. */
  ensure(stack: string, names: readonly string[]): void {
    const there = this.#names.get(stack) ?? new Set<string>();
    for (const name of names) there.add(name);
    this.#names.set(stack, there);
  }

  forget(stack: string): void {
    for (const name of this.#names.get(stack) ?? []) this.#contents.delete(`${stack}/${name}`);
    this.#names.delete(stack);
  }

  list(stack: string): Promise<{ name: string; bytes: number; usedBy: string[] }[]> {
    return Promise.resolve([...(this.#names.get(stack) ?? [])].map((name) => ({ name, bytes: 0, usedBy: this.#users(stack, name) })));
  }

  async remove(stack: string, name: string): Promise<void> {
    await this.#checkFree(stack, name);
    this.#names.get(stack)?.delete(name);
    this.#contents.delete(`${stack}/${name}`);
  }

  snapshot(stack: string, name: string): Promise<Readable> {
    if (this.#names.get(stack)?.has(name) !== true)
      return Promise.reject(new BerthError("not_found", { kind: "volume", name, hint: "Nothing has used it yet." }));
    // Two empty blocks are an archive of nothing.
    return Promise.resolve(Readable.from([this.#contents.get(`${stack}/${name}`) ?? Buffer.alloc(1024)], { objectMode: false }));
  }

  async restore({ stack, name }: VolumeRef, archive: Readable): Promise<void> {
    await this.#checkFree(stack, name);
    if (this.#contents.has(`${stack}/${name}`)) throw new BerthError("volume_not_empty");
    const chunks: Buffer[] = [];
    for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    if (bytes.length % 512 !== 0 || bytes.length < 1024)
      throw new BerthError("archive_refused", { reason: "it is no tar archive", hint: "" });
    this.#contents.set(`${stack}/${name}`, bytes);
    this.ensure(stack, [name]);
  }

  #checkFree(stack: string, name: string): Promise<void> {
    const [component] = this.#users(stack, name);
    return component === undefined ? Promise.resolve() : Promise.reject(new BerthError("volume_in_use", { volume: name, component }));
  }
}
