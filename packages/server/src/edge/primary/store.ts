// The edge's entries on disk, one file per component. What was answered as applied is there after a power cut; the edge starts from this folder alone (promise 2).
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Fence, Ref } from "../../engines/engine.ts";
import { writeDurably } from "../../os/files.ts";
import type { StoredEntry } from "../ipc.ts";

export function storeKey(ref: Ref): string {
  return `${ref.stack}/${ref.component}`;
}

/** Negative, zero or positive as `a` is older than, the same as or newer than `b`. */
export function compareFences(a: Fence, b: Fence): number {
  return a.epoch - b.epoch || a.generation - b.generation;
}

export class EntryStore {
  readonly #folder: string;
  readonly #entries = new Map<string, StoredEntry>();
  /** Announced without an entry that carries it. */
  #announced = 0;
  /** Files that could not be read, for the log; they are left where they are. */
  readonly unreadable: string[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(home: string): Promise<EntryStore> {
    const store = new EntryStore(join(home, "edge", "entries"));
    await mkdir(store.#folder, { recursive: true, mode: 0o700 });
    const names = await readdir(store.#folder);
    for (const name of names.filter((one) => one.endsWith(".tmp"))) await rm(join(store.#folder, name), { force: true });
    store.#announced = Number(await readFile(store.#epochFile, "utf8").catch(() => "0")) || 0;
    const files = names.filter((one) => one.endsWith(".json"));
    for (let at = 0; at < files.length; at += 64) await Promise.all(files.slice(at, at + 64).map((name) => store.#read(name)));
    return store;
  }

  get(ref: Ref): StoredEntry | undefined {
    return this.#entries.get(storeKey(ref));
  }

  /** Everything, tombstones included, in a stable order. */
  all(): StoredEntry[] {
    return [...this.#entries.values()].sort((a, b) => (storeKey(a.ref) < storeKey(b.ref) ? -1 : 1));
  }

  /** The newest epoch that was announced, or that any entry carries. */
  epoch(): number {
    let epoch = this.#announced;
    for (const { fence } of this.#entries.values()) epoch = Math.max(epoch, fence.epoch);
    return epoch;
  }

  /** Durable when it resolves. */
  async put(stored: StoredEntry): Promise<void> {
    await writeDurably(join(this.#folder, fileName(stored.ref)), JSON.stringify(stored));
    this.#entries.set(storeKey(stored.ref), stored);
  }

  /** Durable when it resolves. */
  async raiseEpoch(epoch: number): Promise<void> {
    if (epoch <= this.epoch()) return;
    await writeDurably(this.#epochFile, String(epoch));
    this.#announced = epoch;
  }

  get #epochFile(): string {
    return join(this.#folder, "epoch");
  }

  async #read(name: string): Promise<void> {
    try {
      const stored = JSON.parse(await readFile(join(this.#folder, name), "utf8")) as StoredEntry;
      if (fileName(stored.ref) !== name || typeof stored.fence.generation !== "number") throw new TypeError("not an entry");
      this.#entries.set(storeKey(stored.ref), stored);
    } catch (error) {
      this.unreadable.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** Names are DNS labels, so a dot separates them safely. */
function fileName(ref: Ref): string {
  return `${ref.stack}.${ref.component}.json`;
}
