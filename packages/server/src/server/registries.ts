// Who asks registries, and Berth's own questions to the one that it pushes to.
import type { Config } from "../config.ts";
import { isLoopback, registryOf, type FindLogin, type RegistryLogin } from "../core/image/reference.ts";
import type { Db } from "../db/pool.ts";
import type { SecretBox } from "../db/secretbox.ts";
import { RegistryClient, RegistryRefused, RegistryUnreachable } from "../docker/registry-client.ts";
import type { ImageRemover } from "../reconcile/images.ts";
import { openRegistries } from "../resources/registries/store.ts";

/** The credentials of registries, opened when they are asked for. */
export interface Logins {
  readonly find: FindLogin;
  /** All that can be opened here. */
  readonly readable: () => Promise<readonly RegistryLogin[]>;
}

export function openLogins(db: Db, box: SecretBox): Logins {
  return {
    find: async (registry) => (await openRegistries(db, box, registry))[0],
    readable: async () => (await openRegistries(db, box)).filter((one) => one.readable),
  };
}

export interface OpenRegistry {
  readonly client: RegistryClient;
  /** As whom it is asked. */
  readonly user: string | undefined;
  /** There is a password, and it cannot be opened here. */
  readonly unreadable: boolean;
}

/** Berth's own questions to the registry that it pushes to, as whoever is set for it. */
export async function openRegistry(config: Pick<Config, "registry" | "networkEnv">, logins: Logins): Promise<OpenRegistry> {
  const host = registryOf(config.registry ?? "");
  const login = await logins.find(host);
  const readable = login?.readable === true ? login : undefined;
  return {
    client: new RegistryClient({ host, plainHttp: login?.plainHttp ?? isLoopback(host), login: readable, proxies: config.networkEnv }),
    user: login?.username,
    unreadable: login?.readable === false,
  };
}

/** Deletes what Berth pushed; what the registry refuses for now is said, and not thrown. */
export async function openRemover(config: Pick<Config, "registry" | "networkEnv">, logins: Logins): Promise<ImageRemover> {
  const { client } = await openRegistry(config, logins);
  return {
    async remove(repository, digest, signal) {
      try {
        return await client.removeManifest(repository, digest, signal);
      } catch (error) {
        if (error instanceof RegistryRefused || error instanceof RegistryUnreachable) return { trouble: error.message };
        throw error;
      }
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}
