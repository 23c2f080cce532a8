// What Berth writes on a container so that it is recognised, and adopted again after everything but the daemon was lost (promise 7): whose it is, and the
// whole order that it was made by. Values of secrets are in its environment only; a label says where in it they are, not what they are.
import type { InstanceOrder } from "../agent/order.ts";
import { readWorkload, writeWorkload, type WrittenWorkload } from "../written.ts";

/** What a container was made by. */
export interface ContainerOrder extends InstanceOrder {
  /** Where its ports are reached, on its stack's network. */
  readonly address: string;
}

/** Names of labels; the text under `order` is JSON of this module alone. */
export const label = {
  installation: "berth.installation",
  role: "berth.role",
  stack: "berth.stack",
  stackId: "berth.stack-id",
  component: "berth.component",
  instance: "berth.instance",
  release: "berth.release",
  releaseHash: "berth.release-hash",
  volume: "berth.volume",
  order: "berth.order",
} as const;

interface Written {
  readonly version: 1;
  readonly order: Omit<ContainerOrder, "workload"> & { readonly workload: WrittenWorkload["workload"] };
  readonly env: WrittenWorkload["env"];
  readonly secrets: WrittenWorkload["secrets"];
}

export function labelsOf(order: ContainerOrder): Record<string, string> {
  const { workload, ...rest } = order;
  const { workload: kept, env, secrets } = writeWorkload(workload);
  const written: Written = { version: 1, order: { ...rest, workload: kept }, env, secrets };
  return {
    [label.installation]: order.fence.installation,
    [label.role]: order.task === undefined ? "instance" : "task",
    [label.stack]: order.ref.stack,
    [label.stackId]: workload.stackId,
    [label.component]: order.ref.component,
    [label.instance]: order.id,
    [label.release]: String(workload.releaseNumber),
    [label.releaseHash]: workload.releaseHash,
    [label.order]: JSON.stringify(written),
  };
}

/** The order again, from a container's labels and its environment (`NAME=value`). undefined: this version of Berth made no such container. */
export function readOrder(labels: Readonly<Record<string, string>>, environment: readonly string[]): ContainerOrder | undefined {
  const text = labels[label.order];
  if (text === undefined) return undefined;
  const written = JSON.parse(text) as Written;
  if ((written.version as number) !== 1) return undefined;
  const { workload, ...order } = written.order;
  return { ...order, workload: readWorkload({ ...written, workload }, new Map(environment.map((one) => splitVariable(one)))) };
}

/** `NAME=value`. */
export function splitVariable(text: string): [string, string] {
  const equals = text.indexOf("=");
  return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
}
