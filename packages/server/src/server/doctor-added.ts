// What `berth doctor` says of clusters beside this machine: which of them are connected, and why others are not.
import { isKube } from "../core/kube-clusters.ts";
import type { Connection } from "./connection.ts";
import { ok, type Looking } from "./doctor-check.ts";

export function addedChecks(added: readonly Pick<Connection, "of" | "state">[]): Looking[] {
  return added.map(({ of: { cluster, facts }, state }) => ({
    name: `${isKube(facts) ? "cluster" : "host"} ${cluster}`,
    why: "What runs there goes on, and nothing can be deployed or changed there.",
    next: isKube(facts)
      ? `See that ${facts.server} answers this machine (\`kubectl get --raw /readyz\`), and what its gateway says; \`berth clusters show ${cluster}\` says more.`
      : `See that the daemon at ${facts.endpoint} runs and lets this machine in; \`berth clusters show ${cluster}\` says more.`,
    look: () =>
      state.connected
        ? ok(`connected since ${state.since.toISOString()}${isKube(facts) ? "" : `, edge ${state.edgeVersion ?? "?"}`}`)
        : { status: "failed", found: `not connected since ${state.since.toISOString()}: ${state.reason ?? "it is being connected"}` },
  }));
}
