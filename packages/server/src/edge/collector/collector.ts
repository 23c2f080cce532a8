// Finds the pipes of instances and tasks, reads them into the stores of their components, and knows every store by its component.
import type { Say } from "../complaints.ts";
import { existsSync, mkdirSync, readdirSync, readFileSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { namePattern } from "@berth/contract/names.ts";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";
import type { DockerApi } from "../../docker/api.ts";
import type { Ref } from "../../engines/engine.ts";
import { refKey } from "../../engines/agent/protocol.ts";
import type { CollectorSettings } from "./config.ts";
import { componentDir, removeComponentLogs, removeLogs } from "./files.ts";
import { ContainerSource } from "./container.ts";
import { Source, type LogSource } from "./source.ts";
import { ComponentStore, Stamps } from "./store.ts";

/** ms: how often what waits for a time to pass is looked at, and how often the folders are, even without a hint. */
const tick = 250;
const sweepPeriod = 1_000;
const name = Type.String({ pattern: namePattern });
/** Written by the agent beside the pipes if there are any, last of all, so that everything is there when this is. */
const LogFile = Type.Object({
  stack: name,
  component: name,
  instance: Type.String({ pattern: "^[a-z0-9][a-z0-9-]{0,62}$" }),
  secrets: Type.Array(Type.String()),
  /** Whose output the daemon has; absent: it comes by pipes. */
  container: Type.Optional(
    Type.Object({
      id: Type.String({ pattern: "^[0-9a-z]{25,64}$" }),
      tty: Type.Boolean(),
      of: Type.Optional(Type.Union([Type.Literal("container"), Type.Literal("service")])),
    }),
  ),
});

export interface CollectorDeps {
  readonly home: string;
  readonly settings: CollectorSettings;
  /** Where instances are containers. */
  readonly daemon?: DockerApi | undefined;
  readonly now: () => number;
  readonly say: Say;
}

export class Collector {
  readonly #deps: CollectorDeps;
  readonly #folders: readonly string[];
  readonly #stamps: Stamps;
  readonly #stores = new Map<string, ComponentStore>();
  /** undefined: drained, and waiting for the agent to remove the folder. */
  readonly #sources = new Map<string, LogSource | undefined>();
  /** Whose pipes lie in a folder: its stack. */
  readonly #owners = new Map<string, string>();
  #watchers: FSWatcher[] = [];
  #sweep: NodeJS.Timeout | undefined;
  #ticks: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;

  constructor(deps: CollectorDeps) {
    this.#deps = deps;
    this.#folders = ["instances", "tasks"].map((folder) => join(deps.home, "edge", folder));
    this.#stamps = new Stamps(deps.now);
  }

  start(): void {
    for (const folder of this.#folders) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const watcher = watch(folder, () => this.#lookSoon());
      watcher.on("error", (error) => this.#deps.say("watch failed", { error: error.message }));
      this.#watchers.push(watcher);
    }
    this.#look();
    this.#sweep = setInterval(() => this.#lookAgain(), sweepPeriod);
    this.#ticks = setInterval(() => {
      for (const [dir, source] of this.#sources)
        this.#guarded(dir, () => {
          source?.flushIdle();
        });
    }, tick);
  }

  close(): void {
    clearInterval(this.#sweep);
    clearInterval(this.#ticks);
    clearTimeout(this.#soon);
    for (const watcher of this.#watchers) watcher.close();
    for (const source of this.#sources.values()) source?.close();
    for (const store of this.#stores.values()) store.close();
  }

  store(ref: Ref): ComponentStore {
    const known = this.#stores.get(refKey(ref));
    if (known !== undefined) return known;
    const { maxFileBytes, maxFiles } = this.#deps.settings;
    const store = new ComponentStore(componentDir(join(this.#deps.home, "logs"), ref), { maxFileBytes, maxFiles }, this.#stamps, (error) =>
      this.#deps.say("logs not written", { ...ref, error: textOf(error) }),
    );
    this.#stores.set(refKey(ref), store);
    return store;
  }

  /** Resolves when the store has what an instance wrote until now: who saw it end is told its last words. */
  async catchUp(ref: Ref, instance: string): Promise<void> {
    this.#look();
    const store = this.store(ref);
    await Promise.all(
      [...this.#sources].map(async ([dir, source]) => {
        try {
          if (source?.store === store && source.instance === instance) await source.catchUp();
        } catch (error) {
          this.#deps.say("logs not read", { dir, error: textOf(error) });
        }
      }),
    );
  }

  /** Removes all that a component wrote; false while something of it is still being read. */
  forgetComponent(ref: Ref): boolean {
    this.#look();
    const store = this.store(ref);
    if ([...this.#sources.values()].some((source) => source?.store === store)) return false;
    store.close();
    this.#stores.delete(refKey(ref));
    removeComponentLogs(join(this.#deps.home, "logs"), ref);
    return true;
  }

  /** Removes all that a stack's components wrote; false while something of it is still being read. Nothing else goes: Berth's own logs lie beside. */
  forget(stack: string): boolean {
    this.#look();
    if ([...this.#owners.values()].includes(stack)) return false;
    for (const [key, store] of this.#stores) {
      if (!key.startsWith(`${stack}/`)) continue;
      store.close();
      this.#stores.delete(key);
    }
    removeLogs(join(this.#deps.home, "logs"), stack);
    return true;
  }

  /** The stamp of the newest line there is. */
  newest(): number {
    return this.#stamps.last;
  }

  #lookSoon(): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#lookAgain(), 10);
  }

  #lookAgain(): void {
    try {
      this.#look();
    } catch (error) {
      // No more files can be opened, for instance. The next look comes soon.
      this.#deps.say("logs not looked for", { error: textOf(error) });
    }
  }

  #look(): void {
    const there = new Set<string>();
    for (const folder of this.#folders) for (const id of readdirSync(folder)) there.add(join(folder, id));
    for (const dir of there) this.#guarded(dir, () => this.#lookAt(dir));
    for (const [dir, source] of this.#sources) {
      if (there.has(dir)) continue;
      source?.close();
      this.#sources.delete(dir);
      this.#owners.delete(dir);
    }
  }

  /** One broken folder must not cost the others their lines. */
  #guarded(dir: string, act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#deps.say("logs not read", { dir, error: textOf(error) });
    }
  }

  #lookAt(dir: string): void {
    if (!this.#sources.has(dir)) this.#begin(dir);
    // Also of one that was only begun now: it may have ended before anybody looked.
    if (this.#sources.get(dir)?.look() === true) this.#sources.set(dir, undefined);
  }

  #begin(dir: string): void {
    const file = join(dir, "log.json");
    if (!existsSync(file) || existsSync(join(dir, "drained"))) return;
    const about = readAbout(file);
    if (about === undefined) return;
    const source = this.#sourceOf(dir, about);
    if (source === undefined) return;
    this.#sources.set(dir, source);
    this.#owners.set(dir, about.stack);
    source.open();
  }

  #sourceOf(dir: string, { stack, component, instance, secrets, container }: Static<typeof LogFile>): LogSource | undefined {
    const { now, say, daemon, settings } = this.#deps;
    const store = this.store({ stack, component });
    const of = { dir, instance, secrets, maxLineBytes: settings.maxLineBytes };
    if (container === undefined) return new Source(of, store, now, (error) => say("logs not read", { dir, error: textOf(error) }));
    if (daemon === undefined) {
      say("no daemon to read from", { instance });
      return undefined;
    }
    return new ContainerSource({ ...of, container }, store, { api: daemon, now, say, onDrained: () => this.#lookSoon() });
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function readAbout(file: string): Static<typeof LogFile> | undefined {
  const value: unknown = JSON.parse(readFileSync(file, "utf8"));
  return Value.Check(LogFile, value) ? value : undefined;
}
