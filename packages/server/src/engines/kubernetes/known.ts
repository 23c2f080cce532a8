// Waiting for what a watch knows: whoever asks for it gets it as soon as it is there, or why it is not.
import type { Listed } from "../../kubernetes/objects.ts";
import type { Watched } from "../../kubernetes/watch.ts";
import { failureOf, unreachable } from "./failures.ts";

/** ms after which what is known counts as unknown when the cluster tells no changes. */
const patience = 20_000;

/** Resolves when what is watched is known. Errors: EngineFailure (`cluster_unreachable`, `cluster_rights_missing`) when it is not, or not any more; the signal's reason. */
export async function known<T, O extends Listed>(cluster: string, watched: Watched<T, O>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { since, trouble } = watched;
  if (since === undefined) return;
  const late = Promise.withResolvers<never>();
  const giveTrouble = (): void => {
    const told = watched.trouble ?? trouble ?? new Error(`it has told nothing since ${since.toISOString()}`);
    late.reject(failureOf(cluster, told) ?? unreachable(cluster, told));
  };
  const timer = setTimeout(giveTrouble, Math.max(0, Math.min(since.getTime() + patience - Date.now(), patience)));
  const given = Promise.withResolvers<never>();
  const giveUp = (): void => given.reject(signal.reason as Error);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    await Promise.race([watched.synced, late.promise, given.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
  }
}
