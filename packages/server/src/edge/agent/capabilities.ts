// What this machine offers to instances, as the planner and `berth doctor` see it.
import type { Capabilities } from "../../engines/engine.ts";
import type { Machine } from "./machine.ts";

export function capabilitiesOf(machine: Machine): Capabilities {
  const held = machine.groups?.can ?? { memory: false, cpu: false, processes: false };
  const limits = { ...held, processes: held.processes || machine.countsProcesses };
  const isolation: Capabilities["isolation"][number][] = [
    ...(machine.ownUsers ? ["uid" as const] : []),
    ...(machine.sandbox ? ["namespace" as const] : []),
  ];
  const notices: { code: string; params: Record<string, string> }[] = [];
  if (isolation.length === 0) notices.push({ code: "isolation_none", params: {} });
  else if (!machine.sandbox) notices.push({ code: "isolation_uid_only", params: {} });
  if (!machine.mounting) notices.push({ code: "volumes_env_only", params: {} });
  const missing = Object.entries(limits).flatMap(([name, held]) => (held ? [] : [name]));
  if (missing.length > 0) notices.push({ code: "limits_missing", params: { limits: missing.join(", ") } });
  return {
    reachable: true,
    version: process.versions.node,
    isolation: isolation.length === 0 ? ["none"] : [...isolation, ...(machine.groups === undefined ? [] : ["cgroup" as const])],
    tcp: true,
    weights: true,
    volumes: machine.mounting ? "mount" : "env",
    limits,
    notices,
  };
}
