// A component as the API shows it. Pure.
import type { Component } from "@berth/contract/resources/components.ts";
import { componentVerbs } from "../../core/allowed.ts";
import type { Traffic } from "../../engines/traffic.ts";
import type { MayHere, StackHandle } from "../stacks/service.ts";
import type { ComponentListRow } from "./store.ts";

export function presentComponent(
  stack: Pick<StackHandle, "name" | "deleting" | "drift">,
  row: ComponentListRow,
  traffic: Pick<Traffic, "publicUrl">,
  may: MayHere,
  warningsOf: (hosts: readonly string[]) => NonNullable<Component["warnings"]>,
  unknown: Pick<Component, "unknownSince">,
  autoscaler: boolean,
): Component {
  const isLeft = stack.drift === "report" && row.drift.length > 0;
  const warnings = [
    ...warningsOf(row.routes.map(({ host }) => host)),
    ...(isLeft ? [{ code: "drifted", params: { count: String(row.drift.length) } }] : []),
  ];
  const internal = row.ports.map(
    ({ name, port }) => [name, `${row.spec.ports.find((wanted) => wanted.name === name)?.protocol ?? "tcp"}://127.0.0.1:${port}`] as const,
  );
  return {
    stack: stack.name,
    name: row.name,
    kind: row.kind,
    state: row.state as Component["state"],
    replicas: row.replicas,
    ready: row.ready,
    stopped: row.stopped,
    ...(row.release_number === null || row.release_hash === null || row.release_created_at === null
      ? {}
      : { release: { number: row.release_number, hash: row.release_hash, createdAt: row.release_created_at.toISOString() } }),
    ...(row.rollout_number === null || row.rollout_phase === null
      ? {}
      : { rollout: { number: row.rollout_number, phase: row.rollout_phase } }),
    urls: row.routes.filter(({ host }) => !host.startsWith("*.")).map(({ host, path }) => traffic.publicUrl(host, path)),
    internal: Object.fromEntries(internal),
    ...(row.cause === null ? {} : { cause: row.cause }),
    ...(warnings.length === 0 ? {} : { warnings }),
    ...unknown,
    ...(row.observed_at === null ? {} : { observedAt: row.observed_at.toISOString() }),
    ...(row.spec.follow !== true || row.looked_at === null
      ? {}
      : { looked: { at: row.looked_at.toISOString(), ...(row.look_cause === null ? {} : { cause: row.look_cause }) } }),
    ...(row.next_run_at === null ? {} : { nextRunAt: row.next_run_at.toISOString() }),
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    spec: row.spec,
    allowed: componentVerbs(may, {
      kind: row.kind,
      stopped: row.stopped,
      deleting: stack.deleting || row.delete_requested_at !== null,
      released: row.stable_release_id !== null,
      older: row.older,
      rolling: row.rolling,
      autoscaled: row.spec.autoscale !== undefined,
      autoscaler,
      running: row.observed.instances.some((instance) => instance.phase === "running"),
    }),
  };
}
