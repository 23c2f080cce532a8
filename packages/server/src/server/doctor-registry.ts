// What `berth doctor` says of the registry that images are pushed to: whether it answers, and whether one may push there. Nothing stays there of the question.
import { registryOf } from "../core/image/reference.ts";
import { RegistryRefused, RegistryUnreachable, type RegistryClient } from "../docker/registry-client.ts";
import { ok, type Found, type Looking } from "./doctor-check.ts";

/** `prefix`: as in BERTH_REGISTRY. `open`: the client with the credentials that are set for it; `unreadable`: there are some, and they cannot be opened here. */
export function registryCheck(
  prefix: string,
  open: () => Promise<{ readonly client: RegistryClient; readonly user: string | undefined; readonly unreadable: boolean }>,
): Looking {
  return {
    name: "registry",
    why: "What is built cannot be pushed, so that nothing new can be deployed from source.",
    next: "See whether this machine reaches it.",
    look: (signal) => look(prefix, open, signal),
  };
}

async function look(prefix: string, open: Parameters<typeof registryCheck>[1], signal: AbortSignal): Promise<Found> {
  const registry = registryOf(prefix);
  const { client, user, unreadable } = await open();
  using asked = client;
  if (unreadable)
    return {
      status: "failed",
      found: `the password for ${registry} cannot be opened with this server's keys`,
      next: `Set it again: \`berth registries add ${registry}\`.`,
    };
  try {
    await asked.checkPush(`${prefix.slice(registry.length + 1)}/berth-doctor`, signal);
    return ok(`${prefix} takes images${user === undefined ? "" : ` of ${user}`}`);
  } catch (error) {
    if (error instanceof RegistryRefused && [401, 403].includes(error.status))
      return {
        status: "failed",
        found: `${registry} lets ${user ?? "nobody without credentials"} push nothing below ${prefix}: ${error.message}`,
        next: `Set credentials that may push there: \`berth registries add ${registry} --username NAME\`.`,
      };
    if (error instanceof RegistryRefused || error instanceof RegistryUnreachable)
      return {
        status: "failed",
        found: `${registry} takes no images: ${error.message}`,
        next: `See whether this machine reaches ${registry}, and whether it is the address in BERTH_REGISTRY; one without TLS has to be set so: \`berth registries add --plain-http\`.`,
      };
    throw error;
  }
}
