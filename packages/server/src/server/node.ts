// Who this home is among the servers of one database, kept beside the installation's id: a local cluster belongs to the node that made it.
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { isDeepStrictEqual } from "node:util";
import type { EngineChoice } from "../config-values.ts";
import { writeWhole } from "../os/files.ts";
import type { NodeIdentity } from "../db/clusters.ts";

export interface Node extends NodeIdentity {
  /** The cluster that this home drives, once it does. */
  readonly cluster?: string;
}

interface NodeFile {
  readonly id: string;
  readonly cluster?: string;
  /** What drives the cluster, for whoever starts or asks this home without saying so again (config.ts). */
  readonly engine?: EngineChoice;
}

/** Reads the home's identity, making it when there is none. */
export function openNode(file: string): Node {
  if (!existsSync(file)) writeNode(file, { id: randomUUID() });
  const { id, cluster } = readNode(file);
  return { id, host: hostname(), ...(cluster === undefined ? {} : { cluster }) };
}

export function rememberCluster(file: string, { id }: Node, cluster: string, engine: EngineChoice): void {
  const now: NodeFile = { id, cluster, engine };
  if (!isDeepStrictEqual(readNode(file), now)) writeNode(file, now);
}

const readNode = (file: string): NodeFile => JSON.parse(readFileSync(file, "utf8")) as NodeFile;

function writeNode(file: string, node: NodeFile): void {
  writeWhole(file, JSON.stringify(node));
}
