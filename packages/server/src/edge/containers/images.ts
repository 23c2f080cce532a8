// Images on the daemon's host: there already, or pulled, and why not.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { DockerError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import { EngineFailure, type ResolvedImage } from "../../engines/engine.ts";
import { encodePath, type Daemon } from "./daemon.ts";

interface Progress {
  readonly error?: string;
  readonly status?: string;
}

/** Fetches the image unless the host has it. `reference` is a name with a digest, or the id of an image that was built on this host. Errors: EngineFailure. */
export async function haveImage(daemon: Daemon, reference: string, signal: AbortSignal): Promise<void> {
  if ((await daemon.image(reference)) !== undefined) return;
  // An id names nothing in a registry.
  if (reference.startsWith("sha256:")) throw new EngineFailure(cause("image_gone", { image: reference }), { retryable: false });
  try {
    const stream = await daemon.api.stream("POST", "/images/create", { query: { fromImage: reference }, signal, timeout: Infinity });
    for await (const { error } of readNdjson<Progress>(stream)) if (error !== undefined) throw new DockerError(500, error);
  } catch (error) {
    if (!(error instanceof DockerError)) throw error;
    const { why, retryable } = pullCause(reference, error.message);
    throw new EngineFailure(why, { retryable, cause: error });
  }
  if ((await daemon.image(reference)) === undefined)
    throw new EngineFailure(cause("image_pull_failed", { image: reference, reason: "the daemon does not have it afterwards" }), {
      retryable: true,
    });
}

interface Distribution {
  readonly Descriptor: { readonly digest: string };
}

/**
 * What the name stands for: the registry is asked, without fetching anything. An image that only the host has (or whose registry does not answer now) is taken as the
 * host has it. Errors: EngineFailure.
 */
export async function resolveImage(daemon: Daemon, name: string, signal: AbortSignal): Promise<ResolvedImage> {
  const pinned = /@(sha256:[0-9a-f]{64})$/.exec(name)?.[1];
  if (pinned !== undefined) return { reference: name, digest: pinned, size: 0 };
  const digest = await askRegistry(daemon, name, signal);
  if (digest !== undefined) return { reference: `${withoutTag(name)}@${digest}`, digest, size: 0 };
  await haveImage(daemon, name, signal);
  const image = await daemon.image(name);
  if (image === undefined) throw new EngineFailure(cause("image_gone", { image: name }), { retryable: false });
  const known = image.RepoDigests?.find((one) => one.startsWith(`${withoutTag(name)}@`));
  return known === undefined
    ? { reference: image.Id, digest: image.Id, size: image.Size }
    : { reference: known, digest: known.slice(known.indexOf("@") + 1), size: image.Size };
}

/** undefined: no answer that helps; the pull that follows says why. */
async function askRegistry(daemon: Daemon, name: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const found = await daemon.api.json<Distribution>("GET", `/distribution/${encodePath(name)}/json`, { signal });
    return found.Descriptor.digest;
  } catch (error) {
    if (error instanceof DockerError) return undefined;
    throw error;
  }
}

/** `host:5000/shop/web:2` -> `host:5000/shop/web` */
function withoutTag(name: string): string {
  return name.replace(/:[^:/@]+$/, "");
}

/** What the daemon's words mean; those of dockerd 20 to 28 and of podman 4. */
export function pullCause(image: string, said: string): { readonly why: Cause; readonly retryable: boolean } {
  const evidence = [{ kind: "event" as const, text: said }];
  if (
    /no matching manifest|does not match the specified platform|no image found in (image index|manifest list) for architecture/i.test(said)
  )
    return { why: cause("image_other_platform", { image }, evidence), retryable: false };
  if (/unauthorized|authentication required|no basic auth|denied|forbidden/i.test(said))
    return { why: cause("image_denied", { image }, evidence), retryable: false };
  if (/manifest unknown|not found|does not exist|name unknown|manifest for .* unknown|invalid reference format/i.test(said))
    return { why: cause("image_not_found", { image }, evidence), retryable: false };
  if (/no space left on device/i.test(said))
    return { why: cause("image_pull_failed", { image, reason: "the host's disk is full" }, evidence), retryable: true };
  return { why: cause("image_pull_failed", { image, reason: said.split("\n")[0]?.slice(0, 300) ?? "" }, evidence), retryable: true };
}
