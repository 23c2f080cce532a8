// One Kubernetes cluster, kept connected: its gateway is watched, and while that is told of, the cluster answers. A watch may be silent for minutes and say so of a cluster that is
// gone without a word: then it is asked for its version. Nothing here decides what runs there.
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../../db/log.ts";
import { removeMarkers } from "../../engines/kubernetes/fences.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { Watched } from "../../kubernetes/watch.ts";
import type { OpenKube } from "../../resources/clusters/store.ts";
import type { PlaceState } from "../../resources/deps.ts";
import type { Connection } from "../connection.ts";
import type { KubePlace } from "../places.ts";
import { builderStanding, removeBuilder } from "./builder-pod.ts";
import { troubleOf, type Gateway } from "./gateway.ts";

/** ms between two looks at what the watch knows; no cluster is asked by that. */
const period = 250;
/** ms that a cluster may be away before work for it waits: a restart of its API is over by then. */
const defaultPatience = 5_000;
/** ms between two tries to take it over. */
const pause = 5_000;
/** ms without a word from it after which it is asked, and within which it has to answer. */
const defaultBeat = 5_000;

export interface KubeDeps {
  readonly of: OpenKube;
  /** undefined: what it takes to ask it is not here. */
  readonly api: KubeApi | undefined;
  readonly installation: string;
  /** Called when it answers, before any work: it learns the epoch, and a restored database what runs. */
  readonly takeOver: (signal: AbortSignal) => Promise<void>;
  readonly onChange: () => void;
  /** ms; for tests. */
  readonly beat?: number;
  readonly patience?: number | undefined;
  readonly log: Log;
}

export class KubeConnection implements Connection {
  readonly #deps: KubeDeps;
  readonly #life = new AbortController();
  readonly #running: Promise<void>;
  /** When it answered last, if only by a refusal; unix ms. */
  #answered = Date.now();
  /** Why it does not; undefined: it does, or has not been asked. */
  #silence: string | undefined;
  #state: PlaceState = { connected: false, reason: "it is being connected", since: new Date() };

  constructor(deps: KubeDeps) {
    this.#deps = deps;
    this.#running = this.#run();
  }

  get of(): OpenKube {
    return this.#deps.of;
  }
  get state(): PlaceState {
    return this.#state;
  }
  get place(): KubePlace | undefined {
    const { kind, cluster, facts, access } = this.#deps.of;
    if (access === "unreadable" || this.#deps.api === undefined) return undefined;
    return { kind, cluster, facts, access, connected: this.#state.connected };
  }

  /** What Berth knows of its own orders there; namespaces of stacks are gone with them. */
  async clear(signal: AbortSignal): Promise<void> {
    const { api, installation, of } = this.#deps;
    if (api === undefined) return;
    if (of.facts.builder !== undefined) await removeBuilder(api, installation, signal);
    await removeMarkers(api, installation, signal);
  }

  async builder(signal: AbortSignal): ReturnType<typeof builderStanding> {
    const { api, installation } = this.#deps;
    if (api === undefined) return { state: "none", said: "" };
    return builderStanding(api, installation, signal);
  }

  async close(): Promise<void> {
    this.#life.abort(new Error("the cluster is let go of"));
    await this.#running;
    await this.#deps.api?.close();
  }

  async #run(): Promise<void> {
    const { api, of, patience = defaultPatience } = this.#deps;
    if (of.access === "unreadable")
      return this.#become({ connected: false, reason: "its credentials are sealed with a key that is not here; add it again" });
    if (api === undefined) return this.#become({ connected: false, reason: "this server is no pod of it any more" });
    const { signal } = this.#life;
    const { namespace, name } = of.facts.gateway;
    const gateways = new Watched<Gateway, Gateway>(api, "Gateway", {
      namespace,
      fields: `metadata.name=${name}`,
      project: (gateway) => gateway,
    });
    const asking = this.#ask(api, gateways, signal);
    try {
      for (; !signal.aborted; await delay(period, undefined, { signal }).catch(() => undefined)) {
        const reason = this.#silence ?? reasonIn(gateways, patience);
        const heard = Math.max(gateways.heard, this.#answered);
        if (reason !== undefined) this.#become({ connected: false, reason }, gateways.lists === 0 ? undefined : new Date(heard));
        else if (!this.#state.connected) await this.#take(signal);
      }
    } finally {
      await gateways.close();
      await asking;
    }
  }

  /** Now and then, where nothing is heard; a refusal is an answer, too, unless it is that of a server in trouble. */
  async #ask(api: KubeApi, gateways: Watched<Gateway, Gateway>, signal: AbortSignal): Promise<void> {
    const { beat = defaultBeat } = this.#deps;
    for (; !signal.aborted; await delay(Math.min(period, beat), undefined, { signal }).catch(() => undefined)) {
      if (Date.now() - Math.max(gateways.heard, this.#answered) < beat) continue;
      try {
        await api.request("GET", "/version", { signal, timeout: beat });
        this.#hear();
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof KubeError && error.status < 500) this.#hear();
        else this.#silence = error instanceof Error ? error.message.slice(0, 500) : String(error);
      }
    }
  }

  #hear(): void {
    this.#answered = Date.now();
    this.#silence = undefined;
  }

  async #take(signal: AbortSignal): Promise<void> {
    const { takeOver, log, of } = this.#deps;
    try {
      await takeOver(signal);
      log.info({ cluster: of.cluster, server: of.facts.server }, "a cluster is connected");
      this.#become({ connected: true });
    } catch (error) {
      if (signal.aborted) return;
      log.error({ err: error, cluster: of.cluster }, "a cluster could not be taken over");
      this.#become({ connected: false, reason: error instanceof Error ? error.message.slice(0, 500) : String(error) });
      await delay(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  /** `since`: when it is known better than by now. */
  #become(state: Omit<PlaceState, "since">, since = new Date()): void {
    const { connected, reason } = this.#state;
    if (connected === state.connected && reason === state.reason) return;
    if (!state.connected) this.#deps.log.warn({ cluster: this.#deps.of.cluster, reason: state.reason }, "a cluster is not connected");
    // Since when it is away stays, while only the reason changes.
    this.#state = { ...state, since: connected === state.connected ? this.#state.since : since };
    this.#deps.onChange();
  }
}

/** Why work for the cluster has to wait; undefined: it has not, or its watch broke no longer than `patience` ms ago. */
function reasonIn({ lostAt, trouble, lists, items }: Watched<Gateway, Gateway>, patience: number): string | undefined {
  if (lists === 0) return trouble?.message ?? "it is being connected";
  if (lostAt !== undefined && Date.now() - lostAt.getTime() > patience) return trouble?.message ?? "it is being connected";
  return troubleOf(items.values().next().value);
}
