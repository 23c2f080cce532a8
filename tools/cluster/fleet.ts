// A fleet that is only pretended: nodes and pods as objects of the API, which kwok keeps alive. For what has to be tried with thousands of pods; the real node and its
// pods go on beside it, because fake nodes are tainted.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { moduleSources } from "../../packages/server/src/os/testing/go.ts";
import { seconds, type Progress } from "../progress.mjs";
import { flagsOf } from "./control-plane.ts";
import { startDaemon, stopDaemon, until } from "./daemons.ts";
import { ClusterFailed } from "./failed.ts";
import { apply, ask, kubectl, read } from "./kube.ts";
import { kwokPath, kwokVersion, program } from "./programs.ts";
import { at, kubeconfig, nodeAddress, ports } from "./settings.ts";
import { compileAll, up } from "./up.ts";

/** Of the namespace with its pods. */
export const fleetNamespace = "fleet";
/** Of a fake node, and of the taint that keeps others from it. */
export const fleetLabel = "berth.test/fleet";
/** Nothing has these addresses, and nothing is sent there. */
const podRange = "100.64.0.0/12";
export const podsPerNode = 110;
const deployments = 10;

interface Size {
  readonly nodes: number;
  readonly pods: number;
}

/** Brings the fleet to this size; 0 and 0 remove it. Errors: ClusterFailed `fleet_too_small`, and those of `up`. */
export async function fleet({ nodes, pods }: Size, progress: Progress, patience = 600_000): Promise<void> {
  if (pods > nodes * podsPerNode)
    throw new ClusterFailed(
      "fleet_too_small",
      `A fake node holds ${String(podsPerNode)} pods: ${String(pods)} are too many for ${String(nodes)}.`,
      `Give it more: --nodes ${String(Math.ceil(pods / podsPerNode))}`,
    );
  await compileAll(["kwok"], progress);
  await up([], progress);
  if (nodes > 0) await startKwok();
  await timed(progress, `${String(nodes)} fake nodes ready`, () => setNodes(nodes, patience));
  await timed(progress, `${String(pods)} fake pods ready`, (update) => setPods(pods, patience, update));
  if (nodes > 0) return;
  await stopDaemon("kwok");
  await kubectl(["delete", "namespace", fleetNamespace, "--wait=false"]);
}

async function timed(progress: Progress, title: string, run: (update: (text: string) => void) => Promise<void>): Promise<void> {
  const step = progress.step(title, { quietFor: 500 });
  const started = performance.now();
  try {
    await run((text) => {
      step.update(`${title}: ${text}`);
    });
  } catch (error) {
    step.drop();
    throw error;
  }
  step.done(`${title} (${seconds(performance.now() - started)})`);
}

/** With the stages of nodes and pods that its own module ships. */
async function startKwok(): Promise<void> {
  const stages = join(await moduleSources(kwokPath, kwokVersion), "kustomize", "stage");
  const files = ["node/fast", "node/heartbeat-with-lease", "pod/fast"].flatMap((folder) =>
    readdirSync(join(stages, folder))
      .filter((name) => name.endsWith(".yaml") && !name.startsWith("kustomization"))
      .map((name) => readFileSync(join(stages, folder, name), "utf8")),
  );
  const options = { podPlayStageParallelism: 64, nodePlayStageParallelism: 16, nodeLeaseParallelism: 8, enablePodCache: true };
  const configPath = at("kwok.yaml");
  const config = JSON.stringify({ apiVersion: "config.kwok.x-k8s.io/v1alpha1", kind: "KwokConfiguration", options });
  const server = `${nodeAddress}:${String(ports.fleet)}`;
  const flags = {
    kubeconfig,
    config: configPath,
    "manage-all-nodes": false,
    "manage-nodes-with-label-selector": `${fleetLabel}=true`,
    "node-ip": nodeAddress,
    "node-port": ports.fleet,
    "server-address": server,
    cidr: podRange,
    "node-lease-duration-seconds": 40,
  };
  const argv = [await program("kwok", "kwok"), ...flagsOf(flags), "-v", "WARN"] as const;
  await startDaemon({ name: "kwok", argv: [...argv], files: { [configPath]: [config, ...files].join("\n---\n") } });
  await until("answer of kwok", ["kwok"], async () => (await fetch(`http://${server}/healthz`)).ok);
}

interface Named {
  readonly metadata: { readonly name: string };
  readonly status?: {
    readonly readyReplicas?: number;
    readonly replicas?: number;
    readonly conditions?: readonly { type: string; status: string }[];
  };
}

const listOf = async (path: string): Promise<readonly Named[]> => (await read<{ items: Named[] }>(path))?.items ?? [];
const listNodes = () => listOf(`/api/v1/nodes?labelSelector=${encodeURIComponent(`${fleetLabel}=true`)}`);

async function setNodes(count: number, patience: number): Promise<void> {
  const wanted = new Set(Array.from({ length: count }, (_, index) => `fleet-${String(index + 1)}`));
  const there = new Set((await listNodes()).map(({ metadata }) => metadata.name));
  for (const name of there) if (!wanted.has(name)) await send("DELETE", `/api/v1/nodes/${name}`);
  for (const name of wanted) if (!there.has(name)) await send("POST", "/api/v1/nodes", fakeNode(name));
  const isReady = ({ status }: Named): boolean =>
    status?.conditions?.some(({ type, status: now }) => type === "Ready" && now === "True") ?? false;
  const allReady = async (): Promise<boolean> => (await listNodes()).filter(isReady).length === count;
  await until(`${String(count)} fake nodes`, count === 0 ? [] : ["kwok"], allReady, patience);
}

function fakeNode(name: string): object {
  const room = { cpu: "32", memory: "256Gi", pods: String(podsPerNode) };
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { [fleetLabel]: "true", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
    spec: { taints: [{ key: fleetLabel, value: "true", effect: "NoSchedule" }] },
    status: { capacity: room, allocatable: room },
  };
}

/** In ten Deployments, so that controllers have something to do beside each other. */
async function setPods(count: number, patience: number, update: (text: string) => void): Promise<void> {
  await apply(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: fleetNamespace } }));
  const sizes = Array.from({ length: deployments }, (_, index) => Math.floor((count + index) / deployments));
  await apply(sizes.map((size, index) => JSON.stringify(fakeDeployment(`load-${String(index)}`, size))).join("\n---\n"));
  const done = async (): Promise<boolean> => {
    const all = await listOf(`/apis/apps/v1/namespaces/${fleetNamespace}/deployments`);
    const sum = (field: "readyReplicas" | "replicas"): number => all.reduce((total, { status }) => total + (status?.[field] ?? 0), 0);
    // In a pipe each of them is a line.
    if (count > 0) update(`${String(Math.floor((10 * sum("readyReplicas")) / count) * 10)} %`);
    return sum("readyReplicas") === count && sum("replicas") === count;
  };
  await until(`${String(count)} fake pods`, ["kube-apiserver"], done, patience);
}

function fakeDeployment(name: string, replicas: number): object {
  const spec = {
    terminationGracePeriodSeconds: 0,
    nodeSelector: { [fleetLabel]: "true" },
    tolerations: [{ key: fleetLabel, operator: "Exists" }],
    containers: [{ name: "c", image: "fake/image:1" }],
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: fleetNamespace },
    spec: { replicas, selector: { matchLabels: { app: name } }, template: { metadata: { labels: { app: name } }, spec } },
  };
}

async function send(method: string, path: string, body?: object): Promise<void> {
  const { status, text } = await ask(method, path, body);
  if (status >= 300)
    throw new ClusterFailed("refused", `The API server refused ${method} ${path}: ${String(status)}.`, "Its answer is above.", text);
}
