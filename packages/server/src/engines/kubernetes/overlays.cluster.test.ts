// Overlays on a real cluster: they reach the objects, a bad one fails before anything that runs is touched, and what is shown is what the cluster has.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Overlays } from "@berth/contract/overlay.ts";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { kubectl } from "../../../../../tools/cluster/kube.ts";
import { listed } from "../../kubernetes/list.ts";
import { never, until } from "../conformance/lab.ts";
import { EngineFailure, type Instance, type Ref, type Rendered, type TrackTarget, type Workload } from "../engine.ts";
import type { TrafficEntry } from "../traffic.ts";
import type { GatewayTraffic } from "./gateway-traffic.ts";
import { namespaceOf } from "./names.ts";
import type { Claim, Deployment, Job, Pod } from "./objects.ts";
import type { HTTPRoute, Service } from "./routes.ts";
import { KubernetesPlace, nobodyImage } from "./testing/place.ts";

const { missing, kubeconfig, gateway } = inject("cluster");
const mark = randomBytes(3).toString("hex");

describe.skipIf(missing !== undefined)(`overlays on Kubernetes${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubernetesPlace;
  let traffic: GatewayTraffic;
  let stacks = 0;
  let generation = 0;
  const fence = () => ({ installation: "lab", epoch: 1, generation: (generation += 1) });
  const newRef = (): Ref => ({ stack: `overlays-${mark}-${String((stacks += 1))}`, component: "web" });

  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
    place = await KubernetesPlace.open(readFileSync(kubeconfig, "utf8"));
    traffic = place.openTraffic(gateway);
  });
  afterAll(async () => {
    await traffic?.[Symbol.asyncDispose]();
    await place?.[Symbol.asyncDispose]();
  });

  const ofPod = (spec: object): Overlays => ({ Deployment: { spec: { template: { spec } } } });
  const targetOf = (workload: Workload, replicas = 1): TrackTarget => ({
    ref: workload.ref,
    track: "stable",
    workload,
    restart: 0,
    replicas,
  });
  const instances = async (ref: Ref): Promise<readonly Instance[]> => (await place.engine.observe(ref, never))?.instances ?? [];
  const run = async (workload: Workload, replicas = 1): Promise<readonly Instance[]> => {
    await place.engine.prepare(workload, fence(), never);
    await place.engine.ensure(targetOf(workload, replicas), fence(), never);
    return until(async () => {
      const all = await instances(workload.ref);
      return all.length >= replicas && all.every(({ ready }) => ready) && all;
    }, "it is ready");
  };
  const failureOf = async (workload: Workload): Promise<EngineFailure> => {
    const error: unknown = await place.engine.prepare(workload, fence(), never).then(
      () => undefined,
      (failed: unknown) => failed,
    );
    if (!(error instanceof EngineFailure)) throw new Error(`not refused: ${JSON.stringify(workload.kubernetes)}`, { cause: error });
    return error;
  };
  const all = <T>(kind: "Deployment" | "Pod" | "Service", ref: Ref): Promise<T[]> =>
    listed(place.api, kind, { namespace: namespaceOf(ref), signal: never }) as Promise<T[]>;
  const entryOf = (ref: Ref, [one]: readonly Instance[], kubernetes: Overlays): TrafficEntry => ({
    ref,
    ports: [
      {
        name: "http",
        protocol: "http",
        hosts: [{ host: `${ref.stack}.example`, path: "/" }],
        internal: 20_000,
        inside: { host: "", port: 8080 },
        tracks: [
          {
            name: "stable",
            weight: 100,
            endpoints:
              one === undefined
                ? []
                : [
                    {
                      instance: one.id,
                      releaseHash: one.revision.releaseHash,
                      ...(one.addresses["http"] ?? { host: "", port: 0 }),
                      state: "active",
                    },
                  ],
          },
        ],
      },
    ],
    rules: [],
    holdFor: 10_000,
    drainTimeout: 10_000,
    kubernetes,
    stopped: false,
  });

  it("reach the pods, of which the main container stays the one that is asked", async () => {
    const ref = newRef();
    const kubernetes: Overlays = {
      Deployment: {
        metadata: { annotations: { "example.com/owner": "us" } },
        spec: {
          template: {
            metadata: { labels: { tier: "front" } },
            spec: {
              nodeSelector: { "kubernetes.io/os": "linux" },
              tolerations: [{ key: "example.com/gpu", operator: "Exists" }],
              containers: [
                {
                  name: "web",
                  env: [{ name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
                  volumeMounts: [{ name: "spool", mountPath: "/spool" }],
                },
                // Before `web` in the order of names, as statuses come.
                {
                  name: "aside",
                  image: nobodyImage,
                  command: ["sh", "-c", "echo aside > /spool/said; exec sleep 300"],
                  volumeMounts: [{ name: "spool", mountPath: "/spool" }],
                },
              ],
              volumes: [{ name: "spool", emptyDir: { sizeLimit: "1Mi" } }],
            },
          },
        },
      },
    };
    const [one] = await run(
      await place.workload("run", {
        ref,
        kubernetes,
        command: { shell: "until [ -s /spool/said ]; do sleep 0.1; done; echo $(cat /spool/said) on $NODE; exec sleep 300" },
      }),
    );
    const [deployment] = await all<Deployment>("Deployment", ref);
    expect(deployment?.metadata.annotations).toMatchObject({ "example.com/owner": "us" });
    const [pod] = await all<Pod>("Pod", ref);
    expect(pod?.metadata.labels).toMatchObject({ tier: "front", "berth.component": "web" });
    expect(pod?.spec).toMatchObject({
      nodeSelector: { "kubernetes.io/os": "linux" },
      containers: [{ name: "web" }, { name: "aside", securityContext: { allowPrivilegeEscalation: false } }],
    });
    expect(JSON.stringify(pod)).toContain("example.com/gpu");
    // Its words, not those of the one beside it, and its shell.
    const lines = await until(async () => {
      const found = [];
      for await (const { text } of place.engine.logs(ref, { follow: false }, never)) found.push(text);
      return found.length > 0 && found;
    }, "its words");
    expect(lines).toEqual([expect.stringMatching(/^aside on \S+$/)]);
    expect(one).toMatchObject({ phase: "running", restarts: 0 });
    const recorded = [];
    for await (const record of place.engine.records(never)) if (record.ref.stack === ref.stack) recorded.push(record.workload.kubernetes);
    expect(recorded).toEqual([kubernetes]);
  });

  it("reach runs by their own kind", async () => {
    const ref = newRef();
    const kubernetes: Overlays = {
      Job: {
        spec: {
          template: { metadata: { annotations: { "example.com/run": "yes" } }, spec: { nodeSelector: { "kubernetes.io/os": "linux" } } },
        },
      },
    };
    const workload = await place.workload("run", { ref, kubernetes });
    await place.engine.prepare(workload, fence(), never);
    const id = `run-${mark}`;
    await place.engine.startTask({ id, workload, command: { shell: "exit 0" }, deadline: 60_000, tty: false }, fence(), never);
    await until(async () => (await place.engine.task(id, never))?.phase === "succeeded", "it has run");
    const [job] = await listed<Job>(place.api, "Job", { namespace: namespaceOf(ref), signal: never });
    expect(job?.spec.template).toMatchObject({
      metadata: { annotations: { "example.com/run": "yes" } },
      spec: { nodeSelector: { "kubernetes.io/os": "linux" } },
    });
  });

  it("that are bad fail before anything that runs is touched: overlay_refused, object_refused", async () => {
    const ref = newRef();
    await run(await place.workload("serve", { ref }));
    const seen = async (): Promise<unknown> => ({
      deployments: (await all<Deployment>("Deployment", ref)).map(({ metadata }) => [metadata.name, metadata.generation]),
      pods: (await all<Pod>("Pod", ref)).map(({ metadata }) => [metadata.uid, metadata.deletionTimestamp]),
      services: (await all<Service>("Service", ref)).map(({ metadata }) => metadata.name),
    });
    const before = await seen();
    const bad: [kubernetes: Overlays, code: string, words: RegExp][] = [
      [ofPod({ hostNetwork: true }), "overlay_refused", /spec\.template\.spec\.hostNetwork/],
      [ofPod({ tolerationz: [] }), "object_refused", /tolerationz/],
      [ofPod({ tolerations: [{ operator: "Maybe" }] }), "object_refused", /tolerations.*Maybe/],
      [ofPod({ dnsPolicy: 7 }), "object_refused", /dnsPolicy/],
      [ofPod({ containers: [{ name: "side" }] }), "object_refused", /image.*Required/],
      [{ Deployment: { spec: { minReadySeconds: -1 } } }, "object_refused", /minReadySeconds/],
      [
        { Job: { spec: { template: { spec: { priorityClassName: "none-such" } } } } },
        "admission_denied",
        /no PriorityClass with name none-such/,
      ],
      [{ Service: { spec: { sessionAffinity: "Perhaps" } } }, "object_refused", /sessionAffinity/],
      [{ HTTPRoute: { spec: { rules: [{ timeouts: { request: "soon" } }] } } }, "object_refused", /timeouts/],
      [{ PodDisruptionBudget: { spec: { minAvailable: 1 } } }, "object_refused", /minAvailable/],
    ];
    for (const [kubernetes, code, words] of bad) {
      const { failure, retryable } = await failureOf(await place.workload("serve", { ref, kubernetes, releaseNumber: 2 }));
      expect({ kubernetes, code: failure.code, retryable }).toEqual({ kubernetes, code, retryable: false });
      expect(JSON.stringify(failure.params)).toMatch(words);
    }
    expect(await seen()).toEqual(before);
  });

  it("have what is refused otherwise where the profile is privileged", async () => {
    const kubernetes = ofPod({
      containers: [{ name: "web", volumeMounts: [{ name: "host", mountPath: "/host", readOnly: true }] }],
      volumes: [{ name: "host", hostPath: { path: "/proc", type: "Directory" } }],
    });
    const workload = await place.workload("run", { ref: newRef(), kubernetes });
    expect((await failureOf(workload)).failure.params).toMatchObject({ path: "spec.template.spec.volumes[host].hostPath" });
    await run({ ...workload, securityProfile: "privileged" });
  });

  it("choose a volume's storage, which other components that share it do not take back", async () => {
    const ref = newRef();
    const volumes = [{ volume: "data", path: "/data" }];
    const kubernetes: Overlays = {
      PersistentVolumeClaim: { metadata: { labels: { tier: "kept" } }, spec: { resources: { requests: { storage: "512Mi" } } } },
    };
    const claim = () =>
      place.api.get<Claim & { readonly spec: object }>({ kind: "PersistentVolumeClaim", namespace: namespaceOf(ref), name: "data" });
    await place.engine.prepare(await place.workload("run", { ref, volumes, kubernetes }), fence(), never);
    await place.engine.prepare(await place.workload("run", { ref: { ...ref, component: "other" }, volumes }), fence(), never);
    expect(await claim()).toMatchObject({
      metadata: { labels: { tier: "kept" } },
      spec: { resources: { requests: { storage: "512Mi" } } },
    });
    // What a claim cannot become any more is told before anything runs.
    const smaller: Overlays = { PersistentVolumeClaim: { spec: { accessModes: ["ReadWriteMany"] } } };
    expect((await failureOf(await place.workload("run", { ref, volumes, kubernetes: smaller }))).failure.code).toBe("object_refused");
    // A stack of the same name that comes later has it.
    await place.engine.prepare(await place.workload("run", { ref, volumes, stackId: "stack-2" }), fence(), never);
    expect((await claim()).metadata.labels).toMatchObject({ "berth.stack-id": "stack-2", tier: "kept" });
  });

  it("tell why a container beside the main one does not run: start_failed", async () => {
    const ref = newRef();
    const kubernetes = ofPod({ containers: [{ name: "aside", image: nobodyImage, command: ["sh", "-c", "exit 4"] }] });
    const workload = await place.workload("serve", { ref, kubernetes });
    await place.engine.prepare(workload, fence(), never);
    await place.engine.ensure(targetOf(workload), fence(), never);
    const why = await until(async () => (await instances(ref))[0]?.cause, "a cause");
    expect(why).toMatchObject({
      code: "start_failed",
      params: { reason: "the container aside beside it does not run: it ended with exit code 4" },
    });
  });

  it("are in what is shown, which is what the cluster has, without values of secrets", async () => {
    const ref = newRef();
    const kubernetes: Overlays = {
      ...ofPod({ tolerations: [{ key: "example.com/gpu", operator: "Exists" }] }),
      Service: { metadata: { annotations: { "example.com/service": "yes" } }, spec: { sessionAffinity: "ClientIP" } },
      HTTPRoute: { metadata: { annotations: { "example.com/route": "yes" } }, spec: { rules: [{ timeouts: { request: "10s" } }] } },
      PodDisruptionBudget: { metadata: { annotations: { "example.com/budget": "yes" } } },
    };
    const volumes = [{ volume: "data", path: "/data" }];
    const secret = { env: { TOKEN: "tr0ub4dor", MODE: "yes", EMPTY: "" }, secretValues: ["tr0ub4dor"] };
    const workload = await place.workload("serve", {
      ref,
      kubernetes,
      volumes,
      ...secret,
      resources: { memory: 64 * 1024 * 1024, cpu: 0.1 },
    });
    const ready = await run(workload, 2);
    const routes = { Service: kubernetes.Service ?? {}, HTTPRoute: kubernetes.HTTPRoute ?? {} };
    await traffic.apply(entryOf(ref, ready, routes), fence(), never);
    const shown: Rendered[] = [...(await place.engine.manifests(targetOf(workload, 2), never)), ...(await traffic.manifests(ref, never))];
    expect(shown.map(({ name }) => name)).toEqual([
      `Namespace berth-${ref.stack}`,
      "NetworkPolicy berth-stack",
      "Deployment web--a",
      "PodDisruptionBudget web",
      expect.stringMatching(/^Secret web--/),
      "PersistentVolumeClaim data",
      "Service web",
      "Service web--r1",
      "HTTPRoute web--http",
    ]);
    expect(JSON.stringify(shown)).not.toMatch(/tr0ub4dor|dHIwdWI0ZG9y/);
    expect(shown[4]?.hidden).toEqual(["data.TOKEN"]);
    const list = (bodies: readonly unknown[]) => JSON.stringify({ apiVersion: "v1", kind: "List", items: bodies });
    // Ends with a failure, and its words, when anything differs.
    expect(await kubectl(["diff", "-f", "-"], { input: list(shown.map(({ body }) => body)) })).toBe("");
    const other = await place.engine.manifests(targetOf({ ...workload, kubernetes: ofPod({ priorityClassName: "other" }) }, 2), never);
    await expect(kubectl(["diff", "-f", "-"], { input: list(other.map(({ body }) => body)) })).rejects.toThrow(/diff -f failed/);
    const route = await place.api.get<HTTPRoute>({ kind: "HTTPRoute", namespace: namespaceOf(ref), name: "web--http" });
    expect(route.spec.rules.at(-1)).toMatchObject({ timeouts: { request: "10s" } });
    expect(route.spec.rules.at(0)).not.toHaveProperty("timeouts");
    // What is stopped has no instances to show, and what surrounds it stays.
    expect((await place.engine.manifests(targetOf(workload, 0), never)).map(({ name }) => name)).not.toContain("Deployment web--a");
  });
});
