// As much of an API server as lists and watches need, which forgets, cuts and lies as a test wants.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Listed } from "../objects.ts";
import { json, refusal } from "./server.ts";

export interface Thing extends Listed {
  readonly value: number;
}

/** As much of an API server as lists and watches need, and it does what it is told to. */
export class Things {
  readonly stored = new Map<string, Thing>();
  readonly watchers = new Set<ServerResponse>();
  /** Each change, for watches that begin at an older version: removals, too. */
  readonly #history: { readonly version: number; readonly type: string; readonly object: Thing }[] = [];
  readonly #snapshots = new Map<string, readonly Thing[]>();
  version = 100;
  /** Versions before it are forgotten: 410. */
  oldest = 0;
  lists = 0;
  watches: URLSearchParams[] = [];
  /** Answers instead of the server; true: it did. */
  instead: ((url: URL, response: ServerResponse) => boolean) | undefined;
  /** As event and in words: how a 410 is told. */
  expiredAs: "event" | "status" = "event";
  /** Of all things. */
  readonly labels: Readonly<Record<string, string>>;

  constructor(labels: Readonly<Record<string, string>> = {}) {
    this.labels = labels;
  }

  readonly answer = (request: IncomingMessage, response: ServerResponse): void => {
    const url = new URL(request.url ?? "", "https://x");
    if (this.instead?.(url, response) === true) return;
    if (url.searchParams.get("watch") === "true") this.#watch(url.searchParams, response);
    else this.#list(url.searchParams, response);
  };

  put(name: string, value: number): void {
    const isNew = !this.stored.has(name);
    const thing = this.#thing(name, value);
    this.stored.set(name, thing);
    this.#change(isNew ? "ADDED" : "MODIFIED", thing);
  }

  remove(name: string): void {
    const { value = 0 } = this.stored.get(name) ?? {};
    this.stored.delete(name);
    this.#change("DELETED", this.#thing(name, value));
  }

  bookmark(): void {
    this.tell("BOOKMARK", { metadata: { resourceVersion: String(this.version) } });
  }

  tell(type: string, object: unknown): void {
    for (const watcher of this.watchers) watcher.write(`${JSON.stringify({ type, object })}\n`);
  }

  cut(): void {
    for (const watcher of this.watchers) watcher.destroy();
    this.watchers.clear();
  }

  #thing(name: string, value: number): Thing {
    return { metadata: { name, namespace: "shop", uid: name, labels: this.labels, resourceVersion: String(++this.version) }, value };
  }

  #watch(query: URLSearchParams, response: ServerResponse): void {
    this.watches.push(query);
    const from = Number(query.get("resourceVersion"));
    if (from < this.oldest && this.expiredAs === "status") return json(response, 410, refusal(410, "Expired"));
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (from < this.oldest) {
      response.end(`${JSON.stringify({ type: "ERROR", object: refusal(410, "Expired") })}\n`);
      return;
    }
    this.watchers.add(response);
    response.on("close", () => this.watchers.delete(response));
    for (const { version, type, object } of this.#history) if (version > from) response.write(`${JSON.stringify({ type, object })}\n`);
  }

  #change(type: string, object: Thing): void {
    this.#history.push({ version: this.version, type, object });
    this.tell(type, object);
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    const [version = String(this.version), start = "0"] = query.get("continue")?.split(":") ?? [];
    if (Number(version) < this.oldest) return json(response, 410, refusal(410, "Expired"));
    this.lists++;
    const limit = Number(query.get("limit"));
    // All pages are of the state that the first one was of.
    const all = (start === "0" ? undefined : this.#snapshots.get(version)) ?? [...this.stored.values()];
    this.#snapshots.set(version, all);
    const next = Number(start) + limit;
    const metadata = { resourceVersion: version, ...(next < all.length ? { continue: `${version}:${String(next)}` } : {}) };
    json(response, 200, { metadata, items: all.slice(Number(start), next) });
  }
}
