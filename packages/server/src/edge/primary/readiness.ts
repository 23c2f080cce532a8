// What the agent last said about each instance. It outlives an agent and, by a file, the primary: traffic flows before the first probe after a restart.
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { ReadinessMessage } from "../messages.ts";

/** ms that changes are gathered before the file is written; the file is a head start, not a truth. */
const writeAfter = 500;

export class Readiness {
  readonly #file: string;
  #ready = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string) {
    this.#file = file;
  }

  static async open(file: string): Promise<Readiness> {
    const readiness = new Readiness(file);
    try {
      const known: unknown = JSON.parse(await readFile(file, "utf8"));
      if (Array.isArray(known)) readiness.#ready = new Set(known.filter((id): id is string => typeof id === "string"));
    } catch {
      // Absent or half-written by a crash: the agent reports soon.
    }
    return readiness;
  }

  /** What the primary before this one knew last: newer than the file. */
  replace(ready: readonly string[]): void {
    this.#ready = new Set(ready);
  }

  isReady(instance: string): boolean {
    return this.#ready.has(instance);
  }

  all(): [string, boolean][] {
    return [...this.#ready].map((id) => [id, true]);
  }

  /** Takes in a report; the changes against what was known, for the routers. */
  take(report: ReadinessMessage): [string, boolean][] {
    const changes: [string, boolean][] = [];
    const named = new Set<string>();
    for (const { id, ready } of report.instances) {
      named.add(id);
      if (this.#ready.has(id) === ready) continue;
      if (ready) this.#ready.add(id);
      else this.#ready.delete(id);
      changes.push([id, ready]);
    }
    if (report.full)
      for (const id of this.#ready)
        if (!named.has(id)) {
          this.#ready.delete(id);
          changes.push([id, false]);
        }
    if (changes.length > 0)
      this.#timer ??= setTimeout(() => {
        void this.flush();
      }, writeAfter).unref();
    return changes;
  }

  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing
      .then(async () => {
        const draft = `${this.#file}.tmp`;
        await mkdir(dirname(this.#file), { recursive: true });
        await writeFile(draft, JSON.stringify([...this.#ready]), { mode: 0o600 });
        await rename(draft, this.#file);
      })
      .catch(() => undefined); // a full disk must not end the edge; the file is only a head start
    return this.#writing;
  }
}
