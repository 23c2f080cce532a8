// Helm 3 for tests, compiled from its Go module and kept outside of the checkout, and what the chart renders.
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { call } from "../cluster/failed.ts";
import { kubernetesVersion, modulesMissing, program } from "../cluster/programs.ts";

export const chart = join(import.meta.dirname, "../../charts/berth");

export interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [more: string]: unknown;
}

/** Why there can be none here; undefined when there can. */
export const helmMissing = (): string | undefined => modulesMissing(["helm"]);

/** What it wrote. Errors: ClusterFailed `program_failed` with its words. */
export async function helm(...args: readonly string[]): Promise<string> {
  return call(await program("helm", "helm"), args);
}

/** The objects of a release `berth` in the namespace, without a cluster. */
export async function rendered(namespace: string, values: Readonly<Record<string, string>> = {}): Promise<readonly Rendered[]> {
  const set = Object.entries(values).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
  const text = await helm("template", "berth", chart, "--namespace", namespace, "--kube-version", kubernetesVersion, ...set);
  return parseAllDocuments(text).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const object = document.toJS() as Rendered | null;
    return object === null ? [] : [object];
  });
}
