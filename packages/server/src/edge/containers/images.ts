// Images on the daemon's host: there already, or pulled, and why not. Who may pull comes with each order and is kept nowhere.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { digestOf, repositoryOf, type RegistryLogin } from "../../core/image/reference.ts";
import { DockerError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import { diskFullCause, saysDiskFull } from "../../docker/room.ts";
import { authHeader } from "../../docker/registry-auth.ts";
import { EngineFailure, type ResolvedImage } from "../../engines/engine.ts";
import type { Pending } from "../../engines/agent/protocol.ts";
import { encodePath, type Daemon } from "./daemon.ts";
import { PullProgress, type PullMessage } from "./pullprogress.ts";

/** As whom a registry is asked; undefined: as anybody. */
export type Login = Pick<RegistryLogin, "host" | "username" | "password"> | undefined;

/** How an image is asked for. `patient`: whoever asks does so again when it takes long. */
export interface Asking {
  readonly login?: Login;
  readonly patient?: true;
}

export interface PullLimits {
  /** ms that one question waits for the end of a pull. */
  readonly wait: number;
  /** ms after which a pull that nobody asks about any more is given up. */
  readonly unasked: number;
  /** ms without a word of progress after which it is given up. */
  readonly stalled: number;
}
const usualLimits: PullLimits = { wait: 3_000, unasked: 60_000, stalled: 120_000 };

interface Pull {
  /** Once it has ended, well or not. */
  readonly ended: Promise<void>;
  readonly asked: () => void;
  readonly progress: PullProgress;
  /** When the daemon last told anything of it, by `performance.now()`. */
  heard: number;
  failure: Error | undefined;
  over: boolean;
}

/** A pull may take minutes: it belongs to no single question, so that none has to wait for it, and it outlives whoever asked first (promise 2). */
export class Pulls {
  readonly #daemon: Daemon;
  readonly #limits: PullLimits;
  readonly #pulls = new Map<string, Pull>();

  constructor(daemon: Daemon, limits: PullLimits = usualLimits) {
    this.#daemon = daemon;
    this.#limits = limits;
  }

  /**
   * Fetches the image unless the host has it. `reference` is a name, a name with a digest, or the id of an image that was built on this host. `pending`: it is still
   * under way, ask again. Errors: EngineFailure.
   */
  async have(reference: string, { login, patient }: Asking): Promise<"there" | Pending> {
    if ((await this.#daemon.image(reference)) !== undefined) {
      this.#forget(reference);
      return "there";
    }
    // An id names nothing in a registry.
    if (reference.startsWith("sha256:")) throw new EngineFailure(cause("image_gone", { image: reference }), { retryable: false });
    const pull = this.#pulls.get(reference) ?? this.#begin(reference, login);
    pull.asked();
    if (!pull.over) await (patient === true ? within(pull.ended, this.#limits.wait) : pull.ended);
    if (!pull.over) return { pending: true, pull: pull.progress.state(Math.round(performance.now() - pull.heard)) };
    this.#forget(reference);
    if (pull.failure !== undefined) throw pull.failure;
    return "there";
  }

  #forget(reference: string): void {
    if (this.#pulls.get(reference)?.over === true) this.#pulls.delete(reference);
  }

  #begin(reference: string, login: Login): Pull {
    const given = new AbortController();
    const unasked = setTimeout(() => {
      given.abort(new Error("nobody asks for it any more"));
      // Another one may have been begun since this one ended.
      if (this.#pulls.get(reference) === pull) this.#pulls.delete(reference);
    }, this.#limits.unasked).unref();
    const stalled = setTimeout(() => given.abort(stalledFailure(reference, this.#limits.stalled)), this.#limits.stalled).unref();
    const progress = new PullProgress();
    const hear = (message: PullMessage): void => {
      stalled.refresh();
      pull.heard = performance.now();
      progress.take(message);
    };
    const ended = pullImage(this.#daemon, reference, login, hear, given.signal)
      .catch((error: unknown) => {
        pull.failure = error instanceof Error ? error : new Error(String(error));
      })
      .finally(() => {
        clearTimeout(stalled);
        pull.over = true;
      });
    const pull: Pull = {
      ...{ ended, asked: () => void unasked.refresh(), progress, heard: performance.now() },
      failure: undefined,
      over: false,
    };
    this.#pulls.set(reference, pull);
    return pull;
  }
}

function stalledFailure(image: string, ms: number): EngineFailure {
  const reason = `nothing came for ${String(Math.round(ms / 1_000))} seconds`;
  return new EngineFailure(cause("image_pull_failed", { image, reason }), { retryable: true });
}

async function within(promise: Promise<void>, ms: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([promise, late]);
  clearTimeout(timer);
}

async function pullImage(
  daemon: Daemon,
  reference: string,
  login: Login,
  hear: (message: PullMessage) => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    const headers = authHeader(login);
    const call = { query: { fromImage: reference }, headers, signal, timeout: Infinity };
    const stream = await daemon.api.stream("POST", "/images/create", call);
    for await (const message of readNdjson<PullMessage>(stream)) {
      if (message.error !== undefined) throw new DockerError(500, message.error);
      hear(message);
    }
  } catch (error) {
    if (!(error instanceof DockerError)) throw error;
    if (saysDiskFull(error.message))
      throw new EngineFailure(await diskFullCause(daemon.api, `the image ${reference}`, error.message), { retryable: true, cause: error });
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
export async function resolveImage(
  { daemon, pulls }: { readonly daemon: Daemon; readonly pulls: Pulls },
  name: string,
  asking: Asking,
  signal: AbortSignal,
): Promise<ResolvedImage | Pending> {
  const pinned = digestOf(name);
  if (pinned !== undefined) return { reference: name, digest: pinned, size: 0 };
  const digest = await askRegistry(daemon, name, asking.login, signal);
  if (typeof digest === "string") return { reference: `${repositoryOf(name)}@${digest}`, digest, size: 0 };
  const had = await pulls.have(name, asking);
  if (had !== "there") return had;
  const image = await daemon.image(name);
  if (image === undefined) throw new EngineFailure(cause("image_gone", { image: name }), { retryable: false });
  const known = image.RepoDigests?.find((one) => one.startsWith(`${repositoryOf(name)}@`));
  return known === undefined
    ? { reference: image.Id, digest: image.Id, size: image.Size }
    : { reference: known, digest: known.slice(known.indexOf("@") + 1), size: image.Size };
}

/** Whether the host has it, or its registry says that it does; a registry that does not answer, or not to us, is believed to. */
export async function isHeld(daemon: Daemon, reference: string, login: Login, signal: AbortSignal): Promise<boolean> {
  if ((await daemon.image(reference)) !== undefined) return true;
  if (digestOf(reference) === undefined) return false;
  const answer = await askRegistry(daemon, reference, login, signal);
  return typeof answer === "string" || pullCause(reference, answer.message).why.code !== "image_lost";
}

/** The digest, or why there is no answer that helps: the pull that follows says what that means. */
async function askRegistry(daemon: Daemon, name: string, login: Login, signal: AbortSignal): Promise<string | DockerError> {
  try {
    const call = { headers: authHeader(login), signal };
    const found = await daemon.api.json<Distribution>("GET", `/distribution/${encodePath(name)}/json`, call);
    return found.Descriptor.digest;
  } catch (error) {
    if (error instanceof DockerError) return error;
    throw error;
  }
}

/** What the daemon's words mean; those of dockerd 20 to 28 and of podman 4. */
export function pullCause(image: string, said: string): { readonly why: Cause; readonly retryable: boolean } {
  const evidence = [{ kind: "event" as const, text: said.slice(0, 4096) }];
  if (
    /no matching manifest|does not match the specified platform|no image found in (image index|manifest list) for architecture/i.test(said)
  )
    return { why: cause("image_other_platform", { image }, evidence), retryable: false };
  if (/unauthorized|authentication required|no basic auth|denied|forbidden/i.test(said))
    return { why: cause("image_denied", { image }, evidence), retryable: false };
  if (/manifest unknown|not found|does not exist|name unknown|manifest for .* unknown|invalid reference format/i.test(said)) {
    // A name stands for another image tomorrow; a digest that was there and is not any more never comes back by itself.
    const code = digestOf(image) === undefined ? "image_not_found" : "image_lost";
    return { why: cause(code, { image }, evidence), retryable: false };
  }
  return { why: cause("image_pull_failed", { image, reason: said.split("\n")[0]?.slice(0, 300) ?? "" }, evidence), retryable: true };
}
