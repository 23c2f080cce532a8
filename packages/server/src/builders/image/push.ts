// Pushes an image of a Docker daemon to a registry. The daemon sends only what the registry lacks, so that a push which was cut off goes on where it was.
import { setTimeout as sleep } from "node:timers/promises";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { registryOf, type RegistryLogin } from "../../core/image/reference.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError, DockerStreamError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import { authHeader } from "../../docker/registry-auth.ts";

export interface PushOrder {
  /** The daemon's id of it. */
  readonly image: string;
  /** `registry.example:5000/berth/shop/web` */
  readonly repository: string;
  /** For people; nothing of Berth goes by it. */
  readonly tag: string;
  readonly login: RegistryLogin | undefined;
  /** A line for people. */
  readonly say: (text: string) => void;
}

export interface PushPatience {
  /** ms that trouble may last without anything getting further. */
  readonly trouble: number;
  /** ms without a word of the daemon after which a push is begun again. */
  readonly stalled: number;
  /** ms before the second attempt; twice as long before each next one, a minute at most. */
  readonly pause: number;
}
const usualPatience: PushPatience = { trouble: 60_000, stalled: 120_000, pause: 1_000 };

/** `reference`: its name with the digest of its manifest, by which everybody fetches the same. */
export type Pushed =
  { readonly ok: true; readonly reference: string; readonly digest: string } | { readonly ok: false; readonly cause: Cause };

/** One message of the stream: `POST /images/{name}/push` of the Docker Engine API. */
interface Message {
  readonly id?: string;
  readonly status?: string;
  readonly error?: string;
  readonly aux?: { readonly Digest?: string };
}

/** Tries again what may mend itself. Causes: `image_push_denied`, `image_push_failed`. Rejects with the signal's reason, and with what the daemon itself failed of. */
export async function pushImage(api: DockerApi, order: PushOrder, signal: AbortSignal, patience = usualPatience): Promise<Pushed> {
  const { image, repository, tag, say } = order;
  const name = `${repository}:${tag}`;
  await api.json("POST", `/images/${image}/tag`, { query: { repo: repository, tag }, signal });
  say(`Pushing ${name}`);
  const there = new Set<string>();
  let reached = 0;
  let since: number | undefined;
  for (let pause = patience.pause; ; pause = Math.min(pause * 2, 60_000)) {
    const trouble = await attempt(api, order, there, signal, patience.stalled);
    if ("digest" in trouble) {
      say(`Pushed ${repository}@${trouble.digest}`);
      return { ok: true, reference: `${repository}@${trouble.digest}`, digest: trouble.digest };
    }
    const { said } = trouble;
    const evidence = [{ kind: "event" as const, text: said.slice(0, 4096) }];
    if (/unauthorized|authentication required|no basic auth|denied|forbidden/i.test(said))
      return { ok: false, cause: cause("image_push_denied", { image: name, registry: registryOf(name) }, evidence) };
    if (there.size > reached) since = undefined;
    reached = there.size;
    since ??= Date.now();
    const reason = said.split("\n")[0]?.slice(0, 300) ?? "";
    if (Date.now() - since + pause > patience.trouble)
      return { ok: false, cause: cause("image_push_failed", { image: name, registry: registryOf(name), reason }, evidence) };
    say(`It is tried again in ${String(Math.ceil(pause / 1_000))} s: ${reason}`);
    await sleep(pause, undefined, { signal });
  }
}

/** `there`: layers that the registry has got; those of this attempt are added. */
async function attempt(
  api: DockerApi,
  { repository, tag, login, say }: PushOrder,
  there: Set<string>,
  signal: AbortSignal,
  stalled: number,
): Promise<{ readonly digest: string } | { readonly said: string }> {
  const quiet = new AbortController();
  const watch = setTimeout(() => quiet.abort(), stalled);
  const layers = new Set<string>();
  try {
    const stream = await api.stream("POST", `/images/${repository}/push`, {
      query: { tag },
      // Without it the daemon of some versions refuses to push at all.
      headers: { ...authHeader({ host: registryOf(repository), username: "", password: "" }), ...authHeader(login) },
      signal: AbortSignal.any([signal, quiet.signal]),
      timeout: Infinity,
    });
    let digest: string | undefined;
    for await (const message of readNdjson<Message>(stream)) {
      watch.refresh();
      if (message.error !== undefined) return { said: message.error };
      if (message.aux?.Digest !== undefined) digest = message.aux.Digest;
      if (message.id === undefined) continue;
      if (/^(Preparing|Waiting|Pushing)/.test(message.status ?? "")) layers.add(message.id);
      if (!/^(Pushed|Layer already exists|Mounted from)/.test(message.status ?? "") || there.has(message.id)) continue;
      there.add(message.id);
      say(`Layer ${message.id} is there (${String(there.size)} of ${String(Math.max(layers.size, there.size))})`);
    }
    return digest === undefined ? { said: "the daemon ended the push without a digest and without an error" } : { digest };
  } catch (error) {
    signal.throwIfAborted();
    if (quiet.signal.aborted) return { said: `nothing was heard of it for ${String(stalled / 1_000)} seconds` };
    // A daemon that is away fails the build as it does everywhere: the build is run again.
    if (error instanceof DockerError || error instanceof DockerStreamError) return { said: error.message };
    throw error;
  } finally {
    clearTimeout(watch);
  }
}
