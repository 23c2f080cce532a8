// What a name of an image stands for at its registry, asked as whoever is set for it, without fetching anything.
import { cause } from "@berth/contract/causes.ts";
import { defaultRegistry, digestOf, isLoopback, partsOf, type FindLogin, type Standing } from "../core/image/reference.ts";
import { RegistryClient, RegistryRefused, RegistryUnreachable } from "./registry-client.ts";

export interface RegistryAsker {
  readonly find: FindLogin;
  /** `HTTPS_PROXY` and its like. */
  readonly proxies: Readonly<Record<string, string>>;
}

/** Of a name with a digest: whether that is still there. Causes: `image_not_found`, `image_denied`, `registry_unreadable`, `registry_unanswered` (which alone is worth a retry). */
export async function askStanding({ find, proxies }: RegistryAsker, image: string, signal: AbortSignal): Promise<Standing> {
  const { registry, repository, tag } = partsOf(image);
  const login = await find(registry);
  if (login?.readable === false) return { cause: cause("registry_unreadable", { registry, image }), retryable: false };
  const standard = registry === defaultRegistry;
  using client = new RegistryClient({
    host: standard ? "registry-1.docker.io" : registry,
    plainHttp: login?.plainHttp ?? isLoopback(registry),
    login,
    proxies,
  });
  const path = standard && !repository.includes("/") ? `library/${repository}` : repository;
  try {
    return { digest: await client.digestOf(path, digestOf(image) ?? tag, signal) };
  } catch (error) {
    if (error instanceof RegistryRefused && [401, 403].includes(error.status))
      return { cause: cause("image_denied", { image }), retryable: false };
    if (error instanceof RegistryRefused && error.status === 404) return { cause: cause("image_not_found", { image }), retryable: false };
    if (error instanceof RegistryRefused || error instanceof RegistryUnreachable)
      return { cause: cause("registry_unanswered", { registry, image, reason: error.message.slice(0, 300) }), retryable: true };
    throw error;
  }
}
