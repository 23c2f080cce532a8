// Taking in what others made, with the rights that `berth clusters rbac --import` prints and no others: the pods stay, and are a slot like any other from then on.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { importRules } from "@berth/contract/clusterrights.ts";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { planDeployment } from "../../core/imports/deployment.ts";
import { listed } from "../../kubernetes/list.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import { never, until } from "../conformance/lab.ts";
import type { Fence, TakeIn } from "../engine.ts";
import { makeAccount, type PrintedAccount } from "./testing/account.ts";
import { AskingApi, rightOf, type Need } from "./testing/asked.ts";
import { accessOf, KubernetesPlace, nobodyImage } from "./testing/place.ts";

const { missing, kubeconfig } = inject("cluster");

interface Slice extends KubeObject {
  readonly endpoints?:
    readonly { readonly targetRef: { readonly name: string }; readonly conditions: { readonly ready: boolean } }[] | null;
}

describe.skipIf(missing !== undefined)(`imports${missing === undefined ? "" : ` (${missing})`}`, () => {
  const namespace = `imports-${randomBytes(3).toString("hex")}`;
  const ref = { stack: namespace, component: "web", namespace };
  const asked: Need[] = [];
  let account: PrintedAccount;
  let place: KubernetesPlace;
  let generation = 0;
  const fence = (): Fence => ({ installation: place.installation, epoch: 1, generation: (generation += 1) });

  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
    const admin = readFileSync(kubeconfig, "utf8");
    {
      await using first = await KubernetesPlace.open(admin);
      for (const object of objects(namespace)) await first.api.create(object);
    }
    account = await makeAccount(kubeconfig, ["--import", namespace]);
    place = await KubernetesPlace.open(admin, { engineApi: new AskingApi(accessOf(account.kubeconfig), (need) => void asked.push(need)) });
    await until(async () => ((await pods()).length === 2 ? true : undefined), "it runs");
  });
  afterAll(async () => {
    await place?.api.delete({ kind: "Namespace", name: namespace });
    await place?.[Symbol.asyncDispose]();
    await account?.[Symbol.asyncDispose]();
  });

  const pods = async (): Promise<(string | undefined)[]> =>
    (await listed<KubeObject & { readonly status?: { readonly phase?: string } }>(place.api, "Pod", { namespace, labels: "app=web" }))
      .filter(({ metadata, status }) => metadata.deletionTimestamp === undefined && status?.phase === "Running")
      .map(({ metadata }) => metadata.uid)
      .toSorted();
  const service = () => place.api.get<KubeObject & { readonly spec: object }>({ kind: "Service", namespace, name: "front" });
  /** Pods that the Service leads to. */
  const leads = async (): Promise<string[]> =>
    (await listed<Slice>(place.api, "EndpointSlice", { namespace, labels: "kubernetes.io/service-name=front" }))
      .flatMap(({ endpoints }) => (endpoints ?? []).flatMap(({ targetRef, conditions }) => (conditions.ready ? [targetRef.name] : [])))
      .toSorted();
  const observed = async () => (await place.engine.observe(ref, never))?.instances ?? [];
  let taken: TakeIn;

  it("looks at what is there", async () => {
    const foreign = await place.engine.foreign(namespace, never);
    expect(foreign).toMatchObject({
      namespace,
      configMaps: { settings: { COLOUR: "green" } },
      secrets: { keys: { password: "swordfish" } },
      others: [],
    });
    expect(foreign?.stack).toBeUndefined();
    expect(await place.engine.foreign(`${namespace}-none`, never)).toBeUndefined();
    const [deployment] = foreign?.deployments ?? [];
    if (foreign === undefined || deployment === undefined) throw new Error("nothing is there");
    const planned = planDeployment(deployment, foreign, false);
    // It is in no registry, so that nobody knows its digest.
    expect(planned.refusals.map(({ code }) => code).filter((code) => code !== "import_image")).toEqual([]);
    const { name, uid = "", generation: version = 0 } = deployment.metadata;
    const workload = await place.workload("serve", {
      ref,
      ports: planned.spec.ports,
      env: { ...planned.spec.env, COLOUR: "green", PASSWORD: "swordfish" },
      secretValues: ["swordfish"],
    });
    taken = {
      workload,
      deployment: { name, uid, generation: version },
      container: planned.container,
      templateHash: planned.templateHash,
      services: planned.services,
    };
  });

  it("takes nothing in that is not as it was looked at", async () => {
    const other = { ...taken, deployment: { ...taken.deployment, generation: taken.deployment.generation + 1 } };
    await expect(place.engine.takeIn(other, fence(), never)).rejects.toMatchObject({ code: "wrong_state" });
    expect(await observed()).toEqual([]);
  });

  it("takes it in with the same pods, and once", async () => {
    const before = await pods();
    for (const _again of [1, 2]) await place.engine.takeIn(taken, fence(), never);
    expect(await pods()).toEqual(before);
    expect(await observed()).toMatchObject([
      { phase: "running", releaseNumber: 1, addresses: { http: { port: 8080 } } },
      { phase: "running", releaseNumber: 1, addresses: { http: { port: 8080 } } },
    ]);
    expect((await service()).spec).toMatchObject({ selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] });
    const records = [];
    for await (const record of place.engine.records(never)) records.push(record.workload);
    expect(records).toMatchObject([
      { ref, releaseHash: taken.workload.releaseHash, env: { COLOUR: "green", PASSWORD: "swordfish" }, secretValues: ["swordfish"] },
      { ref, releaseHash: taken.workload.releaseHash, env: { COLOUR: "green", PASSWORD: "swordfish" } },
    ]);
  });

  it("knows a pod that came in place of another, and more of them", async () => {
    const target = { ref, track: "stable", workload: taken.workload, restart: 0 } as const;
    const [first] = await observed();
    await place.api.delete({ kind: "Pod", namespace, name: first?.id ?? "" }, { grace: 1 });
    await until(async () => ((await observed()).every(({ id }) => id !== first?.id) ? true : undefined), "it is gone");
    await place.engine.ensure({ ...target, replicas: 2 }, fence(), never);
    expect(await observed()).toHaveLength(2);
    await place.engine.ensure({ ...target, replicas: 3 }, fence(), never);
    expect(await observed()).toHaveLength(3);
  });

  it("is emptied like any other slot beside one of Berth's own, and its Services go with the component", async () => {
    const next = { ...taken.workload, releaseHash: `sha256:${"2".repeat(64)}`, releaseNumber: 2 };
    await place.engine.prepare(next, fence(), never);
    const release = () => place.engine.ensure({ ref, track: "stable", workload: next, restart: 0, replicas: 1 }, fence(), never);
    // One that its owner leads elsewhere is his.
    await place.api.merge({ kind: "Service", namespace, name: "back" }, { spec: { selector: { app: "db" } } });
    // A pod that somebody put behind the Service since would have no requests any more.
    await place.api.create(strangerOf(namespace));
    await until(async () => (await leads()).includes("stranger"), "the Service leads to it");
    await expect(release()).rejects.toMatchObject({
      failure: { code: "service_leads_elsewhere", params: { service: "front", pod: "stranger" } },
    });
    expect((await service()).spec).toMatchObject({ selector: { app: "web" } });
    await place.api.delete({ kind: "Pod", namespace, name: "stranger" }, { grace: 0 });
    await until(async () => !(await leads()).includes("stranger"), "it is gone");
    const led = await leads();
    const looks: string[][] = [];
    let isOver = false;
    const watching = (async () => {
      while (!isOver) looks.push(await leads());
    })();
    await release().finally(() => {
      isOver = true;
    });
    await watching;
    // At no moment it led to fewer.
    expect(looks.filter((look) => led.some((pod) => !look.includes(pod)))).toEqual([]);
    expect((await place.api.get<KubeObject & { readonly spec: object }>({ kind: "Service", namespace, name: "back" })).spec).toMatchObject({
      selector: { app: "db" },
    });
    expect((await service()).spec).toMatchObject({
      selector: { "berth.component": "web", "berth.track": "stable", "berth.serving": "yes" },
      ports: [{ port: 80, targetPort: 8080 }],
    });
    expect((await listed(place.api, "Service", { namespace })).map(({ metadata }) => metadata.name).toSorted()).toEqual(["back", "front"]);
    const old = (await observed()).filter(({ releaseNumber }) => releaseNumber === 1).map(({ id }) => id);
    await place.engine.stop(ref, old, 1_000, fence(), never);
    await until(
      async () => ((await observed()).every(({ releaseNumber }) => releaseNumber === 2) ? true : undefined),
      "only the next one is left",
    );
    expect((await listed(place.api, "Deployment", { namespace })).map(({ metadata }) => metadata.name)).toEqual(["web--b"]);
    await place.engine.remove(ref, fence(), never);
    await until(async () => ((await observed()).length === 0 ? true : undefined), "nothing is left");
    expect(await place.api.find({ kind: "Service", namespace, name: "front" })).toBeUndefined();
    const home = { id: taken.workload.stackId, name: ref.stack, namespace, volumes: "none" } as const;
    await until(async () => ((await place.engine.forget(home, never)) ? true : undefined), "it is forgotten");
    expect((await place.api.get({ kind: "Namespace", name: namespace })).metadata).toMatchObject({
      labels: { "kubernetes.io/metadata.name": namespace },
    });
  });

  it("asks for each right that the import takes", () => {
    const used = new Set(asked.filter((need) => need.namespace === namespace).map(rightOf));
    const printed = importRules.flatMap(({ apiGroups: [group], resources, verbs }) =>
      resources.flatMap((resource) => verbs.map((verb) => `${group}/${resource} ${verb}`)),
    );
    expect(printed.filter((right) => !used.has(right))).toEqual([]);
  });
});

const strangerOf = (namespace: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace, name: "stranger", labels: { app: "web" } },
  spec: {
    containers: [
      { name: "server", image: nobodyImage, command: ["sh", "-c", "exec sleep 600"], ports: [{ name: "http", containerPort: 8080 }] },
    ],
  },
});

function objects(namespace: string): readonly (KubeObject & Record<string, unknown>)[] {
  const metadata = (name: string) => ({ namespace, name });
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    { apiVersion: "v1", kind: "ConfigMap", metadata: metadata("settings"), data: { COLOUR: "green" } },
    { apiVersion: "v1", kind: "Secret", metadata: metadata("keys"), stringData: { password: "swordfish" } },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: metadata("web"),
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: "web" } },
        template: {
          metadata: { labels: { app: "web" } },
          spec: {
            terminationGracePeriodSeconds: 1,
            containers: [
              {
                name: "server",
                image: nobodyImage,
                command: ["sh", "-c", "mkdir -p /tmp/www; exec httpd -f -p 8080 -h /tmp/www"],
                envFrom: [{ configMapRef: { name: "settings" } }],
                env: [{ name: "PASSWORD", valueFrom: { secretKeyRef: { name: "keys", key: "password" } } }],
                ports: [{ name: "http", containerPort: 8080 }],
              },
            ],
          },
        },
      },
    },
    ...["front", "back"].map((name) => ({
      apiVersion: "v1",
      kind: "Service",
      metadata: metadata(name),
      spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] },
    })),
  ];
}
