// What this machine offers to instances, as the planner and `berth doctor` see it.
import type { Capabilities } from "../../engines/engine.ts";
import type { Machine } from "./machine.ts";

export function capabilitiesOf(machine: Machine): Capabilities {
  const notices: { code: string; params: Record<string, string> }[] = [];
  if (!machine.ownUsers) notices.push({ code: "isolation_none", params: {} });
  if (!machine.mounting) notices.push({ code: "volumes_env_only", params: {} });
  return {
    reachable: true, version: process.versions.node, isolation: machine.ownUsers ? ["uid"] : ["none"], tcp: true, weights: true,
    volumes: machine.mounting ? "mount" : "env", limits: { memory: false, cpu: false, processes: false }, notices,
  };
}
