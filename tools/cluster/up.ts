// Brings the cluster up, a line for each step. Every step does nothing where its work is done already: `up` may be given again, with more parts.
import type { Progress } from "../progress.mjs";
import { seconds } from "../progress.mjs";
import { withLock } from "../../packages/server/src/os/lock.ts";
import { mkdirSync } from "node:fs";
import { startAddons } from "./addons.ts";
import { startContainerd } from "./containerd.ts";
import { startApiServer, startControllers, startEtcd } from "./control-plane.ts";
import { ClusterFailed } from "./failed.ts";
import { startGateway } from "./gateway.ts";
import { prepareMachine } from "./machine.ts";
import { clusterMissing, modulesFor } from "./missing.ts";
import { loadBaseImages, startKubelet, startProxy } from "./node.ts";
import { makePki } from "./pki.ts";
import { compile, countUncompiled, type Module } from "./programs.ts";
import { startNodeRegistry, startRegistry } from "./registry.ts";
import { startVolumes } from "./volumes.ts";
import { prepareSecondNetwork } from "./second.ts";
import { firstNode, home, secondNode, type Part } from "./settings.ts";

interface Step {
  readonly title: string;
  readonly run: () => Promise<unknown>;
}

const controlPlane: readonly Step[] = [
  { title: "network of the node", run: prepareMachine },
  { title: "certificates", run: makePki },
  { title: "etcd", run: startEtcd },
  { title: "API server", run: startApiServer },
  { title: "controllers and scheduler", run: startControllers },
];

const stepsOf: Readonly<Record<Part, readonly Step[]>> = {
  node: [
    { title: "containerd", run: () => startContainerd(firstNode) },
    { title: "images of the pods' first process and of a shell", run: loadBaseImages },
    { title: "kubelet, and the node ready", run: () => startKubelet(firstNode) },
    { title: "kube-proxy", run: () => startProxy(firstNode) },
    { title: "volumes", run: startVolumes },
  ],
  addons: [{ title: "CoreDNS and metrics-server", run: startAddons }],
  gateway: [{ title: "Gateway API and Traefik", run: startGateway }],
  registry: [{ title: "registry", run: startRegistry }],
  node2: [
    { title: "network of the second node", run: prepareSecondNetwork },
    { title: "second containerd", run: () => startContainerd(secondNode) },
    { title: "its images", run: loadBaseImages },
    { title: "second kubelet, and the node ready", run: () => startKubelet(secondNode) },
    { title: "second kube-proxy", run: () => startProxy(secondNode) },
    { title: "registry for the second node", run: startNodeRegistry },
  ],
};

/** Errors: ClusterFailed `missing`, `program_failed`, `daemon_ended`, `not_ready`. What was started stays, for a look at it; `down` removes it. */
export async function up(parts: readonly Part[], progress: Progress): Promise<void> {
  const missing = clusterMissing(parts);
  if (missing !== undefined) throw new ClusterFailed("missing", `The test cluster cannot start: ${missing.why}.`, missing.hint);
  await compileAll(modulesFor(parts), progress);
  mkdirSync(home, { recursive: true, mode: 0o711 });
  await withLock(`${home}.lock`, undefined, async () => {
    for (const { title, run } of [...controlPlane, ...parts.flatMap((part) => stepsOf[part])]) {
      const step = progress.step(title, { quietFor: 500 });
      const started = performance.now();
      try {
        await run();
      } catch (error) {
        step.drop();
        throw error;
      }
      step.done(`${title} (${seconds(performance.now() - started)})`);
    }
  });
}

/** Minutes, the first time. */
export async function compileAll(modules: readonly Module[], progress: Progress): Promise<void> {
  const count = countUncompiled(modules);
  if (count === 0) return;
  progress.line(`Compiling ${String(count)} programs from their Go modules: about a minute each on two cores, once for each version.`);
  const step = progress.step("compiling");
  const started = performance.now();
  let done = 0;
  try {
    await compile(modules, (name) => {
      done += 1;
      step.update(`compiling ${name} (${String(done)} of ${String(count)})`);
    });
  } catch (error) {
    step.drop();
    const { stderr = "", message = "" } = error as { stderr?: string; message?: string };
    throw new ClusterFailed(
      "not_compiled",
      "A program of the cluster could not be compiled.",
      "It downloads Go modules: is there a network?",
      stderr || message,
    );
  }
  step.done(`compiled ${String(count)} programs (${seconds(performance.now() - started)})`);
}
