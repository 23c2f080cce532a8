// What `berth doctor` says of clusters beside this machine: which of them are connected, and why others are not.
import { isKube } from "../core/kube-clusters.ts";
import type { Connection } from "./connection.ts";
import { ok, type Looking } from "./doctor-check.ts";

type Added = Pick<Connection, "of" | "state" | "builder">;

/** `called`: what those are called that were renamed, by the name in their row. */
export function addedChecks(added: readonly Added[], called: ReadonlyMap<string, string>): Looking[] {
  const nameOf = ({ of }: Added): string => called.get(of.cluster) ?? of.cluster;
  return added.flatMap((one) => connectedCheck(one, nameOf(one))).concat(added.flatMap((one) => builderCheck(one, nameOf(one))));
}

/** Whether one of them builds its own images. */
export const buildsElsewhere = (added: readonly Pick<Connection, "of">[]): boolean =>
  added.some(({ of: { facts } }) => isKube(facts) && facts.builder !== undefined);

/** Of clusters that build their own images; one that is not connected is told of as such. */
function builderCheck(connection: Added, name: string): Looking[] {
  const { of, state } = connection;
  if (!isKube(of.facts) || of.facts.builder === undefined || !state.connected) return [];
  const { mode, image } = of.facts.builder;
  const next = "See what `kubectl -n berth--builder describe pods` says of its pod.";
  return [
    {
      name: `builder of cluster ${name}`,
      why: "Nothing can be built from source for it; what runs goes on.",
      next,
      look: async (within) => {
        const { state: now, said } = (await connection.builder?.(within)) ?? { state: "none", said: "" };
        if (now === "none") return ok(`its first build makes it (${mode}, ${image})`);
        if (now === "answers") return ok(`BuildKit answers in pod ${said} (${mode})`);
        return { status: "warning", found: `it does not answer: ${said}`, next };
      },
    },
  ];
}

function connectedCheck({ of: { facts }, state }: Added, cluster: string): Looking {
  return {
    name: `${isKube(facts) ? "cluster" : "host"} ${cluster}`,
    why: "What runs there goes on, and nothing can be deployed or changed there.",
    next: isKube(facts)
      ? `See that ${facts.server} answers this machine (\`kubectl get --raw /readyz\`), and what its gateway says; \`berth clusters show ${cluster}\` says more.`
      : `See that the daemon at ${facts.endpoint} runs and lets this machine in; \`berth clusters show ${cluster}\` says more.`,
    look: () =>
      state.connected
        ? ok(`connected since ${state.since.toISOString()}${isKube(facts) ? "" : `, edge ${state.edgeVersion ?? "?"}`}`)
        : { status: "failed", found: `not connected since ${state.since.toISOString()}: ${state.reason ?? "it is being connected"}` },
  };
}
