// Which tasks were ever seen, and how they ended: one small file per id, for ever. Whoever finds no record may start the task; whoever finds one never may.
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Ref, TaskState } from "../../engines/engine.ts";
import { errorCode, readJson, writeJson } from "./files.ts";

export interface TaskRecord {
  readonly ref: Ref;
  readonly state: TaskState;
}

const idPattern = /^[a-z0-9][a-z0-9-]{0,62}$/;

export class TaskRecords {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  }

  /** undefined: this machine never saw the id. */
  read(id: string): TaskRecord | undefined {
    if (!idPattern.test(id)) return undefined;
    const value = readJson(this.#file(id));
    if (isRecord(value)) return value;
    return this.#readShort(id);
  }

  /** On disk for good when it returns. */
  write(id: string, record: TaskRecord): void {
    writeJson(this.#file(id), record, { durable: true });
  }

  /** Records older than this instant (unix ms) keep phase and exit code only, in the name of a link: it takes no block of the disk. */
  shorten(before: number): void {
    for (const name of readdirSync(this.#dir)) {
      const id = name.replace(/\.json$/, "");
      if (id === name || (statSync(join(this.#dir, name), { throwIfNoEntry: false })?.mtimeMs ?? before) >= before) continue;
      const record = this.read(id);
      if (record === undefined) continue;
      const { phase, exitCode, startedAt, endedAt } = record.state;
      if (!existsSync(this.#file(id)) || phase === "running") continue;
      const short = [
        phase,
        exitCode ?? "",
        Date.parse(startedAt),
        Date.parse(endedAt ?? startedAt),
        record.ref.stack,
        record.ref.component,
      ].join("/");
      try {
        symlinkSync(short, this.#shortFile(id));
      } catch (error) {
        // Shortened before, by an agent that was ended between the two steps.
        if (errorCode(error) !== "EEXIST") throw error;
      }
      rmSync(this.#file(id), { force: true });
    }
  }

  #readShort(id: string): TaskRecord | undefined {
    try {
      const [phase, exitCode, startedAt, endedAt, stack = "", component = ""] = readlinkSync(this.#shortFile(id)).split("/");
      const iso = (text: string | undefined): string => new Date(Number(text)).toISOString();
      return {
        ref: { stack, component },
        state: {
          id,
          phase: phase === "succeeded" ? "succeeded" : "failed",
          ...(exitCode === "" || exitCode === undefined ? {} : { exitCode: Number(exitCode) }),
          startedAt: iso(startedAt),
          endedAt: iso(endedAt),
        },
      };
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  #file(id: string): string {
    return join(this.#dir, `${id}.json`);
  }

  #shortFile(id: string): string {
    return join(this.#dir, `${id}.end`);
  }
}

function isRecord(value: unknown): value is TaskRecord {
  return typeof value === "object" && value !== null && "ref" in value && "state" in value;
}
