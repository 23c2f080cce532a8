// All clusters that this server's node drives beside its own machine, Docker hosts elsewhere and Kubernetes: what the database says there are, each kept connected.
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config.ts";
import { BerthError } from "../core/errors.ts";
import type { Db } from "../db/pool.ts";
import type { Log } from "../db/log.ts";
import type { SecretBox } from "../db/secretbox.ts";
import { openAdded, type OpenHost, type OpenKube } from "../resources/clusters/store.ts";
import type { AddedClusters } from "../resources/deps.ts";
import type { Connection } from "./connection.ts";
import { checkHost } from "./hosts/check.ts";
import { checkKube } from "./kube/check.ts";
import type { AddedPlace } from "./places.ts";

export interface AddedDeps {
  readonly db: Db;
  readonly secretBox: SecretBox;
  readonly config: Pick<Config, "kubernetesService" | "registry" | "buildctl" | "builds">;
  readonly log: Log;
  readonly installation: () => string;
  /** The cluster of this server's own machine. */
  readonly driver: string;
  /** `onChange`: to be called when its state is another one. */
  readonly connect: (to: OpenHost | OpenKube, onChange: () => void) => Promise<Connection>;
  /** What there is now, and which are connected. */
  readonly onChange: (places: readonly AddedPlace[]) => void;
}

export interface RunningAdded extends AddedClusters {
  all(): readonly Pick<Connection, "of" | "state" | "builder">[];
  /** Looks again now and then, until the signal. */
  run(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

const period = 5_000;

/** For a server that drives nothing. */
export const noneAdded: AddedClusters = {
  checkHost: () => Promise.reject(driverless()),
  checkKube: () => Promise.reject(driverless()),
  checkRenewed: () => Promise.reject(driverless()),
  refresh: () => Promise.resolve(),
  state: () => undefined,
  clear: () => Promise.reject(driverless()),
};

const driverless = (): BerthError =>
  new BerthError("wrong_state", {
    verb: "Adding or removing a cluster",
    reason: "this server drives nothing itself",
    hint: "Ask the server that does; `berth clusters list` shows which one.",
  });

export function connectAdded({ db, secretBox, config, log, driver, installation, connect, onChange }: AddedDeps): RunningAdded {
  const connections = new Map<string, Connection>();
  let turn: Promise<void> = Promise.resolve();

  const tell = (): void => {
    onChange([...connections.values()].flatMap(({ place }) => place ?? []));
  };

  async function look(): Promise<void> {
    const wanted = await openAdded(db, secretBox, driver);
    for (const [cluster, connection] of connections) {
      if (wanted.some((one) => isDeepStrictEqual(one, connection.of))) continue;
      connections.delete(cluster);
      await connection.close();
    }
    for (const one of wanted) if (!connections.has(one.cluster)) connections.set(one.cluster, await connect(one, tell));
    tell();
  }

  const refresh = (): Promise<void> => {
    const next = turn.then(look);
    turn = next.catch(() => undefined);
    return next;
  };

  return {
    checkHost,
    checkKube: (wanted, signal) => checkKube(wanted, config, signal),
    checkRenewed: (wanted, { stacks }, signal) => checkKube(wanted, config, signal, stacks ? installation() : undefined),
    refresh,
    all: () => [...connections.values()],
    state: (cluster) => connections.get(cluster)?.state,
    async clear(cluster, signal) {
      try {
        const connection = connections.get(cluster);
        if (connection === undefined) throw new Error("another server drives it");
        await connection.clear(signal);
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
        await refresh().catch((error: unknown) => log.warn({ error: String(error) }, "the added clusters were not looked up"));
        await delay(period, undefined, { signal }).catch(() => undefined);
      }
    },
    async close() {
      await turn;
      await Promise.all([...connections.values()].map((connection) => connection.close()));
    },
  };
}
