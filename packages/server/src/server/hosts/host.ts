// One Docker host elsewhere, kept connected: its edge is put there, a tunnel leads to it, and when that breaks it is made again. Nothing here decides what runs there.
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../../db/log.ts";
import { DockerApi } from "../../docker/api.ts";
import { parseEndpoint } from "../../docker/endpoint.ts";
import { DockerError, DockerUnreachable } from "../../docker/errors.ts";
import type { Hello } from "../../edge/ipc.ts";
import type { EdgeTraffic } from "../../engines/edge-traffic.ts";
import type { HostFacts } from "../../core/hosts.ts";
import type { OpenHost } from "../../resources/clusters/store.ts";
import type { PlaceState } from "../../resources/deps.ts";
import type { Connection } from "../connection.ts";
import type { HostPlace } from "../places.ts";
import { edgeContainerName, tunnelCommand, type EdgeSettings } from "./container.ts";
import { HostTrouble, installEdge, removeEdge, whyEdgeEnded, type InstallDeps } from "./install.ts";
import { renewHostEdge } from "./renew.ts";
import type { LocalSockets } from "./sockets.ts";
import { openTunnel, TunnelClosed } from "./tunnel.ts";

/** ms between two tries, and how long an edge that was started has to answer. */
const pauses = { first: 500, most: 15_000 };
const patience = 60_000;

/** It was started and never answered. */
class EdgeSilent extends HostTrouble {}

export interface HostDeps {
  readonly host: OpenHost;
  readonly settings: EdgeSettings;
  readonly sockets: LocalSockets;
  /** For a socket of a moment. */
  readonly pairPath: string;
  readonly traffic: EdgeTraffic;
  readonly install: Omit<InstallDeps, "api">;
  /** Called when its edge answers, before any work: it learns the epoch, and a restored database what runs. */
  readonly takeOver: (signal: AbortSignal) => Promise<void>;
  readonly onChange: () => void;
  readonly log: Log;
}

/** The daemon of a host. Errors: a TypeError for an address that cannot be. */
export function daemonOf({ facts, tls }: { readonly facts: HostFacts; readonly tls: OpenHost["tls"] }): DockerApi {
  return new DockerApi(parseEndpoint(facts.endpoint, tls === "unreadable" ? undefined : tls));
}

export class Host implements Connection {
  readonly #deps: HostDeps;
  readonly #api: DockerApi;
  readonly #life = new AbortController();
  readonly #running: Promise<void>;
  #state: PlaceState = { connected: false, reason: "it is being connected", since: new Date() };

  constructor(deps: HostDeps) {
    this.#deps = deps;
    this.#api = daemonOf(deps.host);
    this.#running = this.#run();
  }

  get of(): OpenHost {
    return this.#deps.host;
  }
  get state(): PlaceState {
    return this.#state;
  }
  get place(): HostPlace {
    const { kind, cluster, facts, tls } = this.#deps.host;
    return {
      ...{ kind, cluster, facts },
      connected: this.#state.connected,
      doors: this.#deps.traffic.doors,
      ...(tls === undefined || tls === "unreadable" ? {} : { tls }),
    };
  }

  /** Takes the edge off the host. */
  async clear(signal: AbortSignal): Promise<void> {
    await removeEdge(this.#api, this.#deps.settings, signal);
  }

  async close(): Promise<void> {
    this.#life.abort(new Error("the host is let go of"));
    await this.#running;
    await this.#deps.sockets.close();
    await this.#deps.traffic.close();
    this.#api.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#life;
    const { log, host, sockets } = this.#deps;
    for (let pause = pauses.first; !signal.aborted; pause = Math.min(pauses.most, pause * 2)) {
      const began = performance.now();
      let reason: string;
      try {
        reason = await this.#connected(signal);
      } catch (error) {
        const said = error instanceof TunnelClosed || error instanceof EdgeSilent ? await this.#whyEdgeEnded(began, signal) : undefined;
        reason = said ?? reasonOf(error);
        if (!(
          error instanceof HostTrouble ||
          error instanceof DockerUnreachable ||
          error instanceof DockerError ||
          error instanceof TunnelClosed
        ))
          log.error({ err: error, cluster: host.cluster }, "a host could not be connected");
      }
      if (signal.aborted) return;
      sockets.use(undefined, reason);
      if (this.#state.connected || this.#state.reason !== reason) log.warn({ cluster: host.cluster, reason }, "a host is not connected");
      this.#become({ connected: false, reason, since: new Date() });
      // One that was there for a while is tried again at once.
      if (performance.now() - began > pauses.most) pause = pauses.first;
      await delay(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Resolves with the reason when it is not connected any more. */
  async #connected(signal: AbortSignal): Promise<string> {
    const { host, settings, sockets, install, takeOver, log } = this.#deps;
    if (host.tls === "unreadable") throw new HostTrouble("its credentials are sealed with a key that is not here; add it again");
    const name = await installEdge({ ...install, api: this.#api }, settings, signal);
    const tunnel = await openTunnel(this.#api, name, tunnelCommand(settings.facts.home), this.#deps.pairPath, signal);
    try {
      sockets.use(tunnel, "");
      let hello = await this.#hello(tunnel.ended, signal);
      if ((await this.#renewed(hello, signal)) === "renewed") {
        log.info(
          { cluster: host.cluster, from: hello.version },
          "the edge of a host was replaced, by another program or with other settings",
        );
        hello = await this.#hello(tunnel.ended, signal, ({ pid }) => pid !== hello.pid);
      }
      await takeOver(signal);
      log.info({ cluster: host.cluster, edge: hello.version }, "a host is connected");
      this.#become({ connected: true, since: new Date(), edgeVersion: hello.version });
      const ended = await Promise.race([tunnel.ended, aborted(signal)]);
      return ended.message;
    } finally {
      tunnel.close();
    }
  }

  /** Where the edge itself fails, what is heard of its tunnel says nothing. */
  async #whyEdgeEnded(since: number, signal: AbortSignal): Promise<string | undefined> {
    const { installation, cluster } = this.#deps.settings;
    try {
      const seconds = Math.ceil((performance.now() - since) / 1_000) + 60;
      const soon = AbortSignal.any([signal, AbortSignal.timeout(10_000)]);
      const said = await whyEdgeEnded(this.#api, edgeContainerName(installation, cluster), seconds, soon);
      return said === undefined ? undefined : `its edge ends again and again: ${said}`;
    } catch {
      return undefined; // the daemon does not answer either, which is told
    }
  }

  /** Never a reason not to go on: the old edge serves. */
  async #renewed(hello: Hello, signal: AbortSignal): Promise<"same" | "renewed"> {
    const { install, settings, traffic, log, host } = this.#deps;
    try {
      return await renewHostEdge({ ...install, api: this.#api }, settings, hello, traffic, signal);
    } catch (error) {
      signal.throwIfAborted();
      log.error({ error: String(error), cluster: host.cluster }, "the edge of a host could not be replaced; the old one goes on");
      return "same";
    }
  }

  async #hello(ended: Promise<Error>, signal: AbortSignal, isRight: (hello: Hello) => boolean = () => true): Promise<Hello> {
    let over: Error | undefined;
    void ended.then((error) => (over = error));
    for (const until = performance.now() + patience; ; await delay(100, undefined, { signal })) {
      try {
        const hello = await this.#deps.traffic.hello(signal);
        if (isRight(hello)) return hello;
      } catch (error) {
        signal.throwIfAborted();
        if (performance.now() > until) throw new EdgeSilent(`its edge does not answer: ${reasonOf(error)}`);
      }
      if (over !== undefined) throw over;
      if (performance.now() > until) throw new EdgeSilent("its edge does not answer");
    }
  }

  #become(state: PlaceState): void {
    const { connected, reason } = this.#state;
    // Since when stays, while nothing changes.
    this.#state = connected === state.connected && reason === state.reason ? { ...state, since: this.#state.since } : state;
    this.#deps.onChange();
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 500) : String(error);
}

function aborted(signal: AbortSignal): Promise<Error> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason as Error);
    signal.addEventListener("abort", () => resolve(signal.reason as Error), { once: true });
  });
}
