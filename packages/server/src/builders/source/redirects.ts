// Finds out where a repository's address moved to, one hop at a time, so that every host on the way is checked before it is asked.
import { BerthError } from "../../core/errors.ts";
import type { CheckHost } from "./egress.ts";

const suffix = "/info/refs?service=git-upload-pack";
const maxHops = 4;

/** The URL that `base` redirects to; undefined when it leads nowhere that git could use. Sends no credentials. Throws `source_refused` for a host out of bounds. */
export async function followRedirects(base: string, checkHost: CheckHost, signal: AbortSignal): Promise<string | undefined> {
  const first = new URL(base);
  let at = base.replace(/\/$/, "");
  for (let hop = 0; hop < maxHops; hop += 1) {
    const answer = await fetch(at + suffix, { redirect: "manual", signal });
    await answer.body?.cancel();
    if (answer.status < 300 || answer.status > 399) return at === base ? undefined : at;
    const location = answer.headers.get("location");
    if (location === null) return undefined;
    const next = new URL(location, at + suffix);
    if (!next.href.endsWith(suffix)) return undefined;
    await checkHost(next.hostname);
    // git would send the credentials there, and would connect by a name that was not pinned.
    if (next.hostname !== first.hostname || (first.protocol === "https:" && next.protocol !== "https:"))
      throw new BerthError("source_refused", { reason: `the repository moved to ${next.origin}`, hint: "Use its new URL." });
    at = next.href.slice(0, -suffix.length);
  }
  return undefined;
}
