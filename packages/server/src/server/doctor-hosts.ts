// What `berth doctor` says of Docker hosts elsewhere: which of them are connected, and why others are not.
import type { HostState } from "../resources/deps.ts";
import { ok, type Looking } from "./doctor-check.ts";

export function hostChecks(
  hosts: readonly { readonly cluster: string; readonly endpoint: string; readonly state: HostState }[],
): Looking[] {
  return hosts.map(({ cluster, endpoint, state }) => ({
    name: `host ${cluster}`,
    why: "What runs there goes on, and nothing can be deployed or changed there.",
    next: `See that the daemon at ${endpoint} runs and lets this machine in; \`berth clusters show ${cluster}\` says more.`,
    look: () =>
      state.connected
        ? ok(`connected since ${state.since.toISOString()}, edge ${state.edgeVersion ?? "?"}`)
        : { status: "failed", found: `not connected since ${state.since.toISOString()}: ${state.reason ?? "it is being connected"}` },
  }));
}
