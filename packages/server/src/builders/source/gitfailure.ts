// Reads from git's own words why a fetch failed. Pure; what it quotes is masked.
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { networkRemedies } from "../../core/knownlines.ts";
import type { Mask } from "../../core/mask.ts";

export interface FailedFetch {
  readonly url: string;
  readonly ref: string;
  readonly host: string;
  readonly mask: Mask;
}

const auth =
  /Authentication failed|could not read (?:Username|Password)|returned error: 40[13]\b|Permission denied \(|HTTP Basic: Access denied|unable to read askpass response/;
const unknownHost = /Host key verification failed|host key is known for|REMOTE HOST IDENTIFICATION HAS CHANGED/;
const notFound =
  /couldn't find remote ref|[Rr]epository (?:'[^']*' )?not found|returned error: 404\b|does not exist|not our ref|unadvertised object|does not appear to be a git repository|Not a valid object name|not a valid SHA1/;

/** The cause for what git wrote to standard error. `LC_ALL=C` is taken for granted. */
export function failureOf(stderr: string, failed: FailedFetch): Cause {
  const lines = failed
    .mask(stderr)
    .split("\n")
    .map((line) => line.replace(/\p{Cc}/gu, " ").trim())
    .filter((line) => line !== "");
  const evidence = lines.slice(-20).map((text): Evidence => ({ kind: "log", text: text.slice(0, 1000) }));
  if (unknownHost.test(stderr)) return cause("git_host_unknown", { host: failed.host }, evidence);
  if (auth.test(stderr)) return cause("git_auth_failed", { url: failed.url }, evidence);
  if (notFound.test(stderr)) return cause("git_not_found", { url: failed.url, ref: failed.ref }, evidence);
  for (const { pattern, cause: known } of networkRemedies) {
    const match = lines.map((line) => pattern.exec(line)).find((one) => one !== null);
    // The name that people know is the one in the URL; git speaks of addresses that it was pinned to.
    if (match != null) return { ...known(match), params: { ...known(match).params, host: failed.host }, evidence };
  }
  const telling = lines.find((line) => /^(?:fatal|error|ssh):/.test(line)) ?? lines.at(-1) ?? "it ended without a word";
  return cause("git_failed", { url: failed.url, reason: telling.replace(/^(?:fatal|error): /, "").slice(0, 300) }, evidence);
}
