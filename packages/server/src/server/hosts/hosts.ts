// All Docker hosts elsewhere that this server's node drives: what the database says there are, each kept connected.
import { setTimeout as delay } from "node:timers/promises";
import { createSecureContext } from "node:tls";
import { isDeepStrictEqual } from "node:util";
import { BerthError } from "../../core/errors.ts";
import type { Config } from "../../config.ts";
import type { Db } from "../../db/pool.ts";
import type { Log } from "../../db/log.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { DockerApi } from "../../docker/api.ts";
import { parseEndpoint } from "../../docker/endpoint.ts";
import { DockerError, DockerStreamError, DockerUnreachable } from "../../docker/errors.ts";
import { authHeader } from "../../docker/registry-auth.ts";
import { registryOf } from "../../core/image/reference.ts";
import { openHosts, type OpenHost } from "../../resources/clusters/store.ts";
import type { Hosts, HostState } from "../../resources/deps.ts";
import { openHostTraffic } from "../machine.ts";
import type { HostPlace } from "../places.ts";
import type { Logins } from "../registries.ts";
import { hostSockets, type Paths } from "../../paths.ts";
import { daemonOf, Host } from "./host.ts";
import { openSockets } from "./sockets.ts";

export interface HostsDeps {
  readonly db: Db;
  readonly secretBox: SecretBox;
  readonly config: Config;
  readonly paths: Paths;
  readonly log: Log;
  readonly logins: Logins;
  readonly installation: string;
  /** By which the edges know this server's questions. */
  readonly probeKey: Buffer;
  /** The cluster of this server's own machine. */
  readonly driver: string;
  /** Before any work on a cluster. */
  readonly takeOver: (cluster: string, signal: AbortSignal) => Promise<void>;
  /** What there is now, and which are connected. */
  readonly onChange: (hosts: readonly HostPlace[]) => void;
}

export interface RunningHosts extends Hosts {
  all(): readonly { readonly cluster: string; readonly endpoint: string; readonly state: HostState }[];
  /** Looks again now and then, until the signal. */
  run(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

const period = 5_000;

/** The daemon that this address and these certificates lead to. Errors: `host_unusable` when they cannot lead to any. */
function usable({ facts, tls }: Pick<OpenHost, "facts" | "tls">): DockerApi {
  const refused = (reason: string, hint: string, error: unknown): BerthError =>
    new BerthError("host_unusable", { endpoint: facts.endpoint, reason, hint }, { cause: error });
  const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));
  try {
    // Read here, and not at the first connection: what cannot be read is the caller's mistake.
    if (tls !== undefined && tls !== "unreadable") createSecureContext({ ...tls });
  } catch (error) {
    throw refused(
      `its certificates cannot be read: ${words(error)}`,
      "Give ca.pem, cert.pem and key.pem as they are: --tls FOLDER.",
      error,
    );
  }
  try {
    return daemonOf({ facts, tls });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw refused(error.message, "Write it as in DOCKER_HOST: tcp://host:2376.", error);
  }
}

/** For a server that drives nothing. */
export const noHosts: Hosts = {
  check: () => Promise.reject(driverless()),
  refresh: () => Promise.resolve(),
  state: () => undefined,
  clear: () => Promise.reject(driverless()),
};

const driverless = (): BerthError =>
  new BerthError("wrong_state", {
    verb: "Adding or removing a host",
    reason: "this server drives nothing itself",
    hint: "Ask the server that does; `berth clusters list` shows which one.",
  });

export function createHosts(deps: HostsDeps): RunningHosts {
  const { db, secretBox, config, paths, log, driver } = deps;
  const hosts = new Map<string, Host>();
  let turn: Promise<void> = Promise.resolve();
  const own = config.engine.kind === "docker" ? new DockerApi(parseEndpoint(config.engine.docker)) : undefined;

  const tell = (): void => {
    deps.onChange(
      [...hosts.values()].map(({ of, state, doors }) => ({
        cluster: of.cluster,
        facts: of.facts,
        connected: state.connected,
        doors,
        ...(of.tls === undefined || of.tls === "unreadable" ? {} : { tls: of.tls }),
      })),
    );
  };

  async function open(host: OpenHost): Promise<Host> {
    const { cluster, facts } = host;
    const sockets = hostSockets(paths, cluster);
    return new Host({
      host,
      settings: {
        installation: deps.installation,
        version: config.version,
        cluster,
        image: config.image,
        facts,
        common: {
          trustedProxies: config.trustedProxies,
          limits: config.routerLimits,
          errorDetails: config.errorDetails,
          hstsSeconds: config.hstsSeconds,
        },
      },
      sockets: await openSockets(cluster, sockets),
      pairPath: sockets.pair,
      traffic: openHostTraffic(paths, { cluster, facts }),
      install: {
        own,
        probeKey: deps.probeKey,
        auth: async (image) => {
          const login = await deps.logins.find(registryOf(image));
          return login?.readable === true ? authHeader(login) : {};
        },
      },
      takeOver: (signal) => deps.takeOver(cluster, signal),
      onChange: tell,
      log,
    });
  }

  async function look(): Promise<void> {
    const wanted = await openHosts(db, secretBox, driver);
    for (const [cluster, host] of hosts) {
      if (wanted.some((one) => isDeepStrictEqual(one, host.of))) continue;
      hosts.delete(cluster);
      await host.close();
    }
    for (const host of wanted) if (!hosts.has(host.cluster)) hosts.set(host.cluster, await open(host));
    tell();
  }

  const refresh = (): Promise<void> => {
    const next = turn.then(look);
    turn = next.catch(() => undefined);
    return next;
  };

  return {
    refresh,
    all: () => [...hosts.values()].map(({ of, state }) => ({ cluster: of.cluster, endpoint: of.facts.endpoint, state })),
    state: (cluster) => hosts.get(cluster)?.state,
    async check({ facts, tls }, signal) {
      const api = usable({ facts, tls });
      try {
        const { OSType, Architecture, Swarm } = await api.json<{
          OSType?: string;
          Architecture?: string;
          Swarm?: { ControlAvailable?: boolean };
        }>("GET", "/info", { signal, timeout: 15_000 });
        if (OSType !== undefined && OSType !== "linux")
          throw new BerthError("host_unusable", {
            endpoint: facts.endpoint,
            reason: `it runs ${OSType} containers (${Architecture ?? "?"})`,
            hint: "Berth needs a host that runs Linux containers.",
          });
        if (facts.swarm === true && Swarm?.ControlAvailable !== true)
          throw new BerthError("host_unusable", {
            endpoint: facts.endpoint,
            reason: "it is no manager of a Swarm",
            hint: "Make it one (`docker swarm init`, or `docker node promote` on a manager), or add it without --swarm.",
          });
      } catch (error) {
        if (!(error instanceof DockerUnreachable || error instanceof DockerError || error instanceof DockerStreamError)) throw error;
        throw new BerthError(
          "host_unusable",
          { endpoint: facts.endpoint, reason: error.message, hint: "See that the daemon runs, listens there, and trusts the certificate." },
          { cause: error },
        );
      } finally {
        api.close();
      }
    },
    async clear(cluster, signal) {
      const host = hosts.get(cluster);
      try {
        if (host === undefined) throw new Error("another server drives it");
        await host.clear(signal);
      } catch (error) {
        signal.throwIfAborted();
        throw new BerthError(
          "engine_unavailable",
          { cluster, reason: error instanceof Error ? error.message : String(error) },
          { cause: error },
        );
      }
    },
    async run(signal) {
      while (!signal.aborted) {
        // A database that is away changes nothing.
        await refresh().catch((error: unknown) => log.warn({ error: String(error) }, "the hosts were not looked up"));
        await delay(period, undefined, { signal }).catch(() => undefined);
      }
    },
    async close() {
      await turn;
      await Promise.all([...hosts.values()].map((host) => host.close()));
      own?.close();
    },
  };
}
