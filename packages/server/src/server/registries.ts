// Who asks registries, and Berth's own questions to the one that it pushes to.
import { cause } from "@berth/contract/causes.ts";
import type { Config } from "../config.ts";
import { defaultRegistry, isLoopback, partsOf, registryOf, type FindLogin, type RegistryLogin } from "../core/image/reference.ts";
import type { Db } from "../db/pool.ts";
import type { SecretBox } from "../db/secretbox.ts";
import { RegistryClient, RegistryRefused, RegistryUnreachable } from "../docker/registry-client.ts";
import type { Standing } from "../reconcile/follow.ts";
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

/** What a registry says that an image's name stands for now, asked with the credentials that are set for it. */
export async function askStanding(networkEnv: Config["networkEnv"], logins: Logins, image: string, signal: AbortSignal): Promise<Standing> {
  const { registry, repository, tag } = partsOf(image);
  const login = await logins.find(registry);
  if (login?.readable === false) return { cause: cause("registry_unreadable", { registry, image }), retryable: false };
  const standard = registry === defaultRegistry;
  using client = new RegistryClient({
    host: standard ? "registry-1.docker.io" : registry,
    plainHttp: login?.plainHttp ?? isLoopback(registry),
    login,
    proxies: networkEnv,
  });
  try {
    return { digest: await client.digestOf(standard && !repository.includes("/") ? `library/${repository}` : repository, tag, signal) };
  } catch (error) {
    if (error instanceof RegistryRefused && [401, 403].includes(error.status))
      return { cause: cause("image_denied", { image }), retryable: false };
    if (error instanceof RegistryRefused && error.status === 404) return { cause: cause("image_not_found", { image }), retryable: false };
    if (error instanceof RegistryRefused || error instanceof RegistryUnreachable)
      return { cause: cause("registry_unanswered", { registry, image, reason: error.message.slice(0, 300) }), retryable: true };
    throw error;
  }
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
