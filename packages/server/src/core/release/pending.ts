// What the next release would pick up of config and secrets, by name: what changed since the release that serves. Never a value.
import type { PendingConfig, PendingSecret } from "@berth/contract/resources/plans.ts";
import type { Intent } from "./appenv.ts";

/** `shown` are variables whose change is told elsewhere, because the file itself changed them. */
export function pendingConfig(before: Intent["config"], after: Intent["config"], shown: ReadonlySet<string>): PendingConfig[] {
  return namesOf(before, after)
    .filter((name) => before[name] !== after[name] && !shown.has(name))
    .map((name) => ({ name, change: changeOf(before[name], after[name]) }));
}

export function pendingSecrets(before: Intent["secretRefs"], after: Intent["secretRefs"]): PendingSecret[] {
  return namesOf(before, after).flatMap((variable): PendingSecret[] => {
    const from = before[variable];
    const to = after[variable];
    const secret = to?.secret ?? from?.secret;
    if (secret === undefined || (from?.secret === to?.secret && from?.version === to?.version)) return [];
    return [
      {
        variable,
        secret,
        change: changeOf(from, to),
        ...(from === undefined ? {} : { from: from.version }),
        ...(to === undefined ? {} : { to: to.version }),
      },
    ];
  });
}

function namesOf(before: object, after: object): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
}

function changeOf(from: unknown, to: unknown): "added" | "changed" | "removed" {
  return from === undefined ? "added" : to === undefined ? "removed" : "changed";
}
