// Before the tests of the project `cluster`: brings the cluster up, unless it is, and takes it down afterwards only then. Tells tests where it is, or why there is none.
import process from "node:process";
import type { TestProject } from "vitest/node";
import { borrowCluster, cannotBorrow } from "./borrow.ts";
import { kubeconfig, nodeAddress, ports, registry } from "./settings.ts";

export interface ProvidedCluster {
  /** Why there is none: its tests are skipped. */
  readonly missing: string | undefined;
  readonly kubeconfig: string;
  /** Where Gateway `public` in the namespace `default` listens. */
  readonly gateway: string;
  /** Plain HTTP, without a password; nodes pull from it by this name. */
  readonly registry: string;
}

declare module "vitest" {
  export interface ProvidedContext {
    readonly cluster: ProvidedCluster;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const missing = cannotBorrow();
  if (missing !== undefined && process.env["BERTH_REQUIRE_ALL"] === "1") throw new Error(`no test cluster: ${missing}`);
  const gateway = `http://${nodeAddress}:${String(ports.gateway)}`;
  project.provide("cluster", { missing, kubeconfig, gateway, registry });
  if (missing !== undefined) return () => Promise.resolve();
  const cluster = await borrowCluster();
  // For tests of packages, which know nothing of this folder. Workers are started with it.
  process.env["BERTH_TEST_KUBECONFIG"] = kubeconfig;
  return async () => cluster[Symbol.asyncDispose]();
}
