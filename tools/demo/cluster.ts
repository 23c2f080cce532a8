// The demo on a Kubernetes cluster: this machine's Docker builds, a registry is between the two, and the stack runs in the cluster of the current kubeconfig context.
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import process from "node:process";
import { readConfig } from "../../packages/server/src/config.ts";
import type { Progress } from "../progress.mjs";
import { DemoError, ask, must, parse, show, stack, root } from "./berth.ts";

/** As the demo's Berth knows it. */
export const clusterName = "demo";

/** Nobody's name server knows it: the demo says how its pages are seen all the same. */
export const defaultDomain = "demo.test";

export interface DemoCluster {
  /** Of the kubeconfig; undefined: its current one. */
  readonly context: string | undefined;
  readonly domain: string;
}

/** Exit code of a command that asked for what there is not. */
const notThere = 3;

interface Shown {
  readonly name: string;
  readonly kubernetes?: { readonly address: string };
}

/** As kubectl looks for it; the first file that is there. Errors: DemoError. */
export function kubeconfigPath(env: NodeJS.ProcessEnv = process.env): string {
  const named = (env["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  const paths = named.length > 0 ? named : [join(homedir(), ".kube", "config")];
  const found = paths.find((path) => existsSync(path));
  if (found === undefined)
    throw new DemoError(
      `There is no kubeconfig at ${paths.join(", ")}.`,
      "Name one of a cluster that may be tried with: KUBECONFIG=FILE npm run demo -- --engine kubernetes",
    );
  return resolve(found);
}

/** Refuses what cannot work, before anything is made. Errors: DemoError. */
export function checkCluster(): void {
  kubeconfigPath();
  if (readConfig().registry === undefined)
    throw new DemoError(
      "A cluster's nodes pull their images from a registry, and none is named.",
      "Name one that this machine may push to and the nodes pull from: BERTH_REGISTRY=registry.example:5000/demo npm run demo -- --engine kubernetes",
    );
}

/** Adds the cluster, unless an earlier run did, and makes the stack there. `keep` is called before each of the two is made. */
export async function settleInCluster(progress: Progress, url: string, { context, domain }: DemoCluster, keep: () => void): Promise<void> {
  if ((await shown(url)) === undefined) {
    keep();
    progress.line(`\n${progress.bold(`berth clusters add ${clusterName}`)}  ${progress.dim(`(${context ?? "the current context"})`)}`);
    const of = context === undefined ? [] : ["--context", context];
    const added = ["clusters", "add", clusterName, "--kubeconfig", kubeconfigPath(), ...of, "--domain", domain];
    if ((await show(added, { cwd: root, server: url })) !== 0)
      throw new DemoError(
        "The cluster could not be added.",
        "The lines above say why; `npm run demo -- --engine kubernetes` goes on from here.",
      );
  }
  const existing = await ask(["stacks", "show", stack, "--json"], url);
  if (existing.code !== 0) await must("Making the stack", ["stacks", "create", stack, "--cluster", clusterName], url);
  else if (parse<{ cluster?: string }>(existing, "The stack").cluster !== clusterName)
    throw new DemoError(
      `The demo's stack ${stack} runs on this machine already.`,
      "Take that demo down first (npm run demo -- --down), or have a second one beside it: BERTH_HOME=~/berth-kubernetes npm run demo -- --engine kubernetes",
    );
}

/** Where the cluster's gateway takes requests. Errors: DemoError. */
export async function gatewayOf(url: string): Promise<{ readonly host: string; readonly port: number }> {
  const address = (await shown(url))?.kubernetes?.address;
  const { hostname, port } = new URL(`http://${address ?? ""}`);
  return { host: hostname, port: port === "" ? 80 : Number(port) };
}

/** The stack with its volumes, then the cluster: nothing of Berth is left there. Errors: DemoError. */
export async function leaveCluster(progress: Progress, url: string | undefined): Promise<void> {
  if ((await shown(url)) === undefined) return;
  const step = progress.step("Removing the stack from the cluster");
  try {
    if ((await ask(["stacks", "show", stack], url)).code === 0)
      await must("Removing the stack", ["stacks", "delete", stack, "--volumes", "--yes"], url);
    await must("Removing the cluster from Berth", ["clusters", "remove", clusterName, "--yes"], url);
    step.done("Removed the stack from the cluster, and everything else of Berth there");
  } catch (error) {
    step.drop();
    throw error;
  }
}

async function shown(url: string | undefined): Promise<Shown | undefined> {
  const answer = await ask(["clusters", "show", clusterName, "--json"], url);
  if (answer.code === 0) return parse<Shown>(answer, "The cluster");
  if (answer.code === notThere) return undefined;
  throw new DemoError(
    "Berth does not say which clusters it has.",
    `The command was: ./bin/berth clusters show ${clusterName}`,
    answer.stderr,
  );
}
