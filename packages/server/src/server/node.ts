// Who this home is among the servers of one database, kept beside the installation's id: a local cluster belongs to the node that made it.
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { writeWhole } from "../os/files.ts";
import type { NodeIdentity } from "../db/clusters.ts";

export interface Node extends NodeIdentity {
  /** The cluster that this home drives, once it does. */
  readonly cluster?: string;
}

/** Reads the home's identity, making it when there is none. */
export function openNode(file: string): Node {
  if (!existsSync(file)) writeNode(file, { id: randomUUID() });
  const { id, cluster } = JSON.parse(readFileSync(file, "utf8")) as { id: string; cluster?: string };
  return { id, host: hostname(), ...(cluster === undefined ? {} : { cluster }) };
}

export function rememberCluster(file: string, node: Node, cluster: string): void {
  if (node.cluster !== cluster) writeNode(file, { id: node.id, cluster });
}

function writeNode(file: string, node: { readonly id: string; readonly cluster?: string }): void {
  writeWhole(file, JSON.stringify(node));
}
