// What others made in a cluster becomes a stack as it runs: the same pods serve before and after, and the next release takes their place without a lost request.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { ImportItem } from "@berth/contract/resources/imports.ts";
import { listed } from "../../packages/server/src/kubernetes/list.ts";
import type { KubeObject } from "../../packages/server/src/kubernetes/objects.ts";
import { makeImage, pushTo, shellContent } from "../../tools/cluster/images.ts";
import { getThrough, startLoad, until } from "../harness.ts";
import { KubePlace, missingBeside } from "./place.ts";

const cluster = inject("cluster");
const missing = missingBeside(cluster);
const namespace = `bazaar-${randomBytes(3).toString("hex")}`;
const stack = "bazaar";
const params = { stack, component: "web" };
const repository = "others/web";
/** Says its variables. */
const script =
  'mkdir -p /tmp/www; env > /tmp/www/env; echo bazaar > /tmp/www/index.html; echo "listening on $PORT"; exec httpd -f -p $PORT -h /tmp/www';

interface Deployment extends KubeObject {
  readonly spec: { readonly replicas: number };
  readonly status?: { readonly readyReplicas?: number };
}
interface Pod extends KubeObject {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly lastTransitionTime?: string }[];
  };
}
interface Service extends KubeObject {
  readonly spec: { readonly clusterIP: string; readonly selector: object; readonly ports: readonly object[] };
}

describe.skipIf(missing !== undefined)(`What others made in a cluster${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubePlace;
  let load: ReturnType<typeof startLoad>[] = [];

  beforeAll(async () => {
    place = await KubePlace.open(cluster);
    expect((await place.add("kube", "--domain", place.domain)).code).toBe(0);
    await pushTo(cluster.registry, repository, "1", await makeImage(await shellContent()));
    for (const object of objects(`${cluster.registry}/${repository}:1`, place.domain)) await place.api.create(object);
    await until(async () => ((await deployment())?.status?.readyReplicas === 2 ? true : undefined), "it runs", 120_000);
  });
  afterAll(async () => {
    await lost();
    await place?.api.delete({ kind: "Namespace", name: namespace });
    await place?.[Symbol.asyncDispose]();
  });

  const deployment = (name = "web") => place.api.find<Deployment>({ kind: "Deployment", namespace, name });
  const services = async (): Promise<Service[]> =>
    (await Promise.all(["web", "web-again"].map((name) => place.api.get<Service>({ kind: "Service", namespace, name })))).toSorted(byName);
  const uids = async (): Promise<(string | undefined)[]> =>
    (await listed(place.api, "Pod", { namespace, labels: "app=web" }))
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata.uid)
      .toSorted();
  /** Of each pod: who is not ready for a moment gets no requests, whoever made it so. */
  const readySince = async (): Promise<readonly (string | undefined)[]> =>
    (await listed<Pod>(place.api, "Pod", { namespace, labels: "app=web" })).map(
      ({ status }) => status?.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime,
    );
  const env = async (): Promise<string[]> => (await place.get(`front.${place.domain}`, "/env")).body.split("\n");
  /** Ends all load; answers what failed of it. */
  const lost = async (): Promise<string[]> => (await Promise.all(load.splice(0).map((one) => one.stop()))).flatMap(({ failed }) => failed);

  /** All but what the cluster itself says of how it stands. */
  const asWritten = async () => {
    const { metadata, spec } = (await deployment()) ?? {};
    const owners = metadata?.managedFields?.flatMap(({ manager, subresource }) => (subresource === "status" ? [] : [manager]));
    return {
      uid: metadata?.uid,
      generation: metadata?.generation,
      labels: metadata?.labels,
      annotations: metadata?.annotations,
      spec,
      owners,
    };
  };

  test("is told object by object before anything is done", async () => {
    const before = await asWritten();
    const said = await place.berth.cli(["import", `kube/${namespace}`, "--name", stack, "--dry-run", "--json"]);
    expect(said, place.berth.log()).toMatchObject({ code: 0 });
    const { items } = JSON.parse(said.said) as { readonly items: readonly ImportItem[] };
    const [web, ...others] = items.toSorted((one, other) => (one.name === "web" ? -1 : one.name < other.name ? -1 : 1));
    expect(web).toMatchObject({
      kind: "Deployment",
      name: "web",
      state: "possible",
      instances: 2,
      image: expect.stringMatching(/@sha256:[0-9a-f]{64}$/) as string,
      services: ["web", "web-again"],
      config: ["COLOUR"],
      spec: {
        kind: "worker",
        env: { PORT: "3000", GREETING: "hello" },
        secrets: { PASSWORD: "keys-password" },
        ports: [{ name: "http", protocol: "http", port: 3000 }],
        probes: { readiness: { check: { type: "http", path: "/", port: 3000 }, period: 1000 } },
        resources: { memory: 268435456 },
        replicas: 2,
        kubernetes: {
          Deployment: { spec: { template: { metadata: { labels: { app: "web" } }, spec: { tolerations: [{ key: "spot" }] } } } },
        },
      },
    });
    expect(others.map(({ name, state, notes }) => ({ name, state, why: notes[0]?.code, path: notes[0]?.params["path"] }))).toEqual([
      { name: "charted", state: "refused", why: "import_stopped", path: undefined },
      { name: "nosy", state: "refused", why: "import_stopped", path: undefined },
      { name: "store", state: "refused", why: "import_kind", path: undefined },
    ]);
    const codes = (name: string): string[] =>
      others.find((one) => one.name === name)?.notes.map(({ code, params: { path = "" } }) => `${code} ${path}`.trim()) ?? [];
    expect(codes("charted")).toContain("import_managed");
    expect(codes("nosy")).toEqual(
      expect.arrayContaining([
        "import_field spec.template.spec.hostNetwork",
        "import_field spec.template.spec.serviceAccountName",
        "import_field spec.template.spec.volumes[node].hostPath",
      ]),
    );
    expect(await asWritten()).toEqual(before);
    expect((await place.berth.client.listStacks()).items.map(({ name }) => name)).toEqual([]);
  });

  test("runs on in the same pods and behind the same Services once it is imported, and no request is lost", async () => {
    const pods = await uids();
    const before = await services();
    const addresses = addressesOf(before);
    // Whoever leads requests may hear of a Service that was just made long after its pods are ready.
    for (const address of addresses)
      await until(() => ask(address).then(({ status }) => status === 200 || undefined, isRefused), "the Service leads to its pods", 60_000);
    await until(async () => (await place.get(`front.${place.domain}`)).status === 200 || undefined, "the route leads to them", 60_000);
    const ready = await readySince();
    load = [startLoad(place, `front.${place.domain}`), ...addresses.map(through)];
    const said = await place.berth.cli(["import", `kube/${namespace}`, "--name", stack, "--yes"]);
    expect(said, place.berth.log()).toMatchObject({
      code: 0,
      said: expect.stringContaining("bazaar/web was imported: 2 pod(s) run on.") as string,
    });
    expect((await place.healthy(params, 2)).release).toMatchObject({ number: 1 });
    expect(await uids()).toEqual(pods);
    expect((await services()).map(({ metadata, spec }) => [metadata.uid, spec])).toEqual(
      before.map(({ metadata, spec }) => [metadata.uid, spec]),
    );
    expect(await deployment()).toMatchObject({ spec: { replicas: 2 } });
    expect((await place.berth.client.showConfig({ params })).values).toEqual({ COLOUR: "green" });
    expect((await place.berth.client.listSecrets({ params: { stack } })).items).toMatchObject([{ name: "keys-password" }]);
    expect((await place.berth.cli(["logs", "-s", stack, "-c", "web"])).said).toContain("listening on 3000");
    // Twice is once.
    const again = await place.berth.cli(["import", `kube/${namespace}`, "--yes", "--json"]);
    expect((JSON.parse(again.said) as { readonly items: readonly ImportItem[] }).items.find(({ name }) => name === "web")).toMatchObject({
      state: "known",
    });
    expect(await uids()).toEqual(pods);
    expect({ lost: await lost(), ready: await readySince() }).toEqual({ lost: [], ready });
  });

  test("has a pod that ended started again as it was", async () => {
    const [first] = await listed(place.api, "Pod", { namespace, labels: "app=web" });
    await place.api.delete({ kind: "Pod", namespace, name: first?.metadata.name ?? "" }, { grace: 1 });
    await until(async () => ((await uids()).includes(first?.metadata.uid) ? undefined : true), "it is gone", 60_000);
    const marked = async (): Promise<Pod[]> =>
      (await listed<Pod>(place.api, "Pod", { namespace, labels: "app=web,berth.component=web" })).filter(
        ({ metadata, status }) =>
          metadata.deletionTimestamp === undefined && status?.conditions?.some((one) => one.type === "Ready" && one.status === "True"),
      );
    await until(async () => ((await marked()).length === 2 ? true : undefined), "the one in its place is known, and ready", 120_000);
    await place.healthy(params, 2);
    expect((await deployment())?.spec.replicas).toBe(2);
  });

  test("gives way to Berth's own pods with the next release, without a lost request", async () => {
    const pods = await uids();
    load = [startLoad(place, `front.${place.domain}`), ...addressesOf(await services()).map(through)];
    await place.berth.client.updateConfig({ params, body: { values: { COLOUR: "blue" }, deploy: true } });
    expect(await place.berth.ended(stack, "web", 1), place.berth.log()).toMatchObject({ phase: "succeeded" });
    await until(async () => ((await deployment()) === undefined ? true : undefined), "the imported Deployment is gone", 120_000);
    expect(await lost()).toEqual([]);
    await until(async () => ((await uids()).some((uid) => pods.includes(uid)) ? undefined : true), "the imported pods are going", 60_000);
    await until(async () => ((await env()).includes("COLOUR=blue") ? true : undefined), "users are led to Berth's own", 60_000);
    expect(await env()).toEqual(expect.arrayContaining(["COLOUR=blue", "GREETING=hello", "PASSWORD=swordfish"]));
    const [own] = await listed<Deployment>(place.api, "Deployment", { namespace, labels: "berth.component=web" });
    expect(own).toMatchObject({
      metadata: { name: "web--b" },
      spec: { template: { metadata: { labels: { app: "web" } }, spec: { tolerations: [{ key: "spot" }] } } },
    });
  });

  test("and leaves the namespace and what else is in it when its stack is deleted", async () => {
    expect((await place.berth.cli(["stacks", "delete", stack, "--yes"])).code).toBe(0);
    await until(
      async () => ((await place.berth.client.listStacks()).items.some(({ name }) => name === stack) ? undefined : true),
      "it is deleted",
      240_000,
    );
    const left = await place.api.get({ kind: "Namespace", name: namespace });
    expect(left.metadata.deletionTimestamp).toBeUndefined();
    expect(Object.keys(left.metadata.labels ?? {})).toEqual(["kubernetes.io/metadata.name"]);
    expect(await deployment("nosy")).toBeDefined();
    expect((await listed(place.api, "Service", { namespace })).map(({ metadata }) => metadata.name)).toEqual([]);
  });
});

interface Address {
  readonly host: string;
  readonly port: number;
}
const addressesOf = (services: readonly Service[]): readonly Address[] =>
  services.map(({ spec, metadata }) => ({ host: spec.clusterIP, port: metadata.name === "web" ? 80 : 8080 }));
/** As somebody inside of the cluster asks. */
const ask = (address: Address, path = "/") => getThrough({ ...address, agent: false }, "web", path, {});
const through = (address: Address) => startLoad({ get: (_host, path) => ask(address, path) }, "web");
function isRefused(error: unknown): undefined {
  if ((error as { readonly code?: string }).code !== "ECONNREFUSED") throw error;
}

const byName = (one: KubeObject, other: KubeObject): number => (one.metadata.name < other.metadata.name ? -1 : 1);

/** As somebody would have written them. */
function objects(image: string, domain: string): readonly (KubeObject & Record<string, unknown>)[] {
  const metadata = (name: string, more: object = {}) => ({ namespace, name, ...more });
  const container = { image, command: ["sh", "-c", script] };
  const app = (name: string, replicas: number, spec: object, more: object = {}) => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: metadata(name, more),
    spec: { replicas, selector: { matchLabels: { app: name } }, template: { metadata: { labels: { app: name } }, spec } },
  });
  const service = (name: string, port: number) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: metadata(name),
    spec: { selector: { app: "web" }, ports: [{ port, targetPort: "http" }] },
  });
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    { apiVersion: "v1", kind: "ConfigMap", metadata: metadata("settings"), data: { COLOUR: "green" } },
    { apiVersion: "v1", kind: "Secret", metadata: metadata("keys"), stringData: { password: "swordfish" } },
    app("web", 2, {
      tolerations: [{ key: "spot", operator: "Exists" }],
      containers: [
        {
          name: "server",
          ...container,
          env: [
            { name: "PORT", value: "3000" },
            { name: "GREETING", value: "hello" },
            { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "keys", key: "password" } } },
          ],
          envFrom: [{ configMapRef: { name: "settings" } }],
          ports: [{ name: "http", containerPort: 3000 }],
          // A busy machine must not take a pod out that serves.
          readinessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 10 },
          resources: { limits: { memory: "256Mi" } },
        },
      ],
    }),
    app("nosy", 0, {
      hostNetwork: true,
      serviceAccountName: "power",
      volumes: [{ name: "node", hostPath: { path: "/" } }],
      containers: [{ name: "nosy", ...container }],
    }),
    app("charted", 0, { containers: [{ name: "charted", ...container }] }, { labels: { "app.kubernetes.io/managed-by": "Helm" } }),
    {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      metadata: metadata("store"),
      spec: {
        replicas: 0,
        serviceName: "store",
        selector: { matchLabels: { app: "store" } },
        template: { metadata: { labels: { app: "store" } }, spec: { containers: [{ name: "store", ...container }] } },
      },
    },
    service("web", 80),
    service("web-again", 8080),
    {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "HTTPRoute",
      metadata: metadata("front"),
      spec: {
        parentRefs: [{ namespace: "default", name: "public" }],
        hostnames: [`front.${domain}`],
        rules: [{ backendRefs: [{ name: "web", port: 80 }] }],
      },
    },
  ];
}
