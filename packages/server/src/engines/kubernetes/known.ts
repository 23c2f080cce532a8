// Waiting for what a watch knows: whoever asks for it gets it as soon as it is there, or why it is not.
import type { Listed } from "../../kubernetes/objects.ts";
import type { Watched } from "../../kubernetes/watch.ts";
import { failureOf, unreachable } from "./failures.ts";

/** ms after which what is known counts as unknown when the cluster tells no changes. */
const defaultPatience = 20_000;

/** Resolves when what is watched is known. Errors: EngineFailure (`cluster_unreachable`, `cluster_rights_missing`) when it is not, or not any more; the signal's reason. */
export async function known<T, O extends Listed>(
  cluster: string,
  watched: Watched<T, O>,
  signal: AbortSignal,
  patience: number = defaultPatience,
): Promise<void> {
  signal.throwIfAborted();
  const { since, lostAt, lists } = watched;
  if (since === undefined || lostAt === undefined) return;
  const failure = (): Error => {
    const told = watched.trouble ?? new Error(`it has told nothing since ${since.toISOString()}`);
    return failureOf(cluster, told) ?? unreachable(cluster, told);
  };
  const left = lostAt.getTime() + patience - Date.now();
  // A watch that broke just now knows what it knew.
  if (lists > 0 && left > 0) return;
  if (lists > 0) throw failure();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(failure()), Math.max(0, Math.min(left, patience)));
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
