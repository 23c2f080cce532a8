// Whether a Docker host elsewhere can be used, before it is written down.
import { createSecureContext } from "node:tls";
import { BerthError } from "../../core/errors.ts";
import type { WantedHost } from "../../core/hosts.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError, DockerStreamError, DockerUnreachable } from "../../docker/errors.ts";
import { daemonOf } from "./host.ts";

/** Errors: `host_unusable`. */
export async function checkHost({ facts, tls }: WantedHost, signal: AbortSignal): Promise<void> {
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
}

/** The daemon that this address and these certificates lead to. Errors: `host_unusable` when they cannot lead to any. */
function usable({ facts, tls }: Pick<WantedHost, "facts" | "tls">): DockerApi {
  const refused = (reason: string, hint: string, error: unknown): BerthError =>
    new BerthError("host_unusable", { endpoint: facts.endpoint, reason, hint }, { cause: error });
  const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));
  try {
    // Read here, and not at the first connection: what cannot be read is the caller's mistake.
    if (tls !== undefined) createSecureContext({ ...tls });
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
