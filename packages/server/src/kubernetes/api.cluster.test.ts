// Calls, lists and watches of a real API server.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KubeApi } from "./api.ts";
import { KubeError, type KubeUnreachable } from "./errors.ts";
import { listAll, listPages } from "./list.ts";
import type { KubeObject } from "./objects.ts";
import { allKinds, apiVersionOf, isNamespaced, pathOf, type Kind } from "./paths.ts";
import { clusterAccess, hasCluster, TestNamespace } from "./testing/cluster.ts";
import { collect, until } from "./testing/server.ts";
import { Watched } from "./watch.ts";

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

const failure = (promise: Promise<unknown>): Promise<KubeError> =>
  promise.then(
    (value) => {
      throw new Error(`it succeeded: ${JSON.stringify(value)}`);
    },
    (error: unknown) => error as KubeError,
  );

describe.skipIf(!hasCluster)("a cluster", () => {
  let space: TestNamespace;
  let api: KubeApi;

  beforeAll(async () => {
    space = await TestNamespace.make();
    api = space.api;
  });
  afterAll(() => space?.[Symbol.asyncDispose]());

  const configMap = (name: string, data: Record<string, string>): ConfigMap => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace: space.name },
    data,
  });
  const refTo = (name: string, kind: Kind = "ConfigMap") => ({ kind, namespace: space.name, name });

  it("has every kind where it is looked for", async () => {
    const missing: string[] = [];
    for (const kind of allKinds) {
      const list = await api
        .find<{ kind: string; apiVersion: string }>({ kind, namespace: isNamespaced(kind) ? space.name : undefined, name: "none" })
        .then(
          () =>
            api.request<{ kind: string; apiVersion: string }>("GET", pathOf(kind, isNamespaced(kind) ? space.name : undefined), {
              query: { limit: 1 },
            }),
          (error: unknown) => error,
        );
      if (list instanceof KubeError && list.status === 404) missing.push(kind);
      else expect(list).toMatchObject({ kind: `${kind}List`, apiVersion: apiVersionOf(kind) });
    }
    // Those of the Gateway API are an addition that a cluster may lack.
    expect(missing.filter((kind) => kind !== "Gateway" && kind !== "HTTPRoute")).toEqual([]);
  });

  it("creates, finds, replaces, patches and deletes", async () => {
    expect(await api.find(refTo("a"))).toBeUndefined();
    const made = await api.create<ConfigMap>(configMap("a", { x: "1" }));
    expect(await failure(api.create(configMap("a", {})))).toMatchObject({ status: 409, reason: "AlreadyExists" });
    expect(await api.merge<ConfigMap>(refTo("a"), { data: { y: "2" } })).toMatchObject({ data: { x: "1", y: "2" } });
    expect(await failure(api.replace({ ...made, data: {} }))).toMatchObject({ status: 409, reason: "Conflict" });
    expect((await api.jsonPatch<ConfigMap>(refTo("a"), [{ op: "remove", path: "/data/x" }])).data).toEqual({ y: "2" });
    expect(await failure(api.jsonPatch(refTo("a"), [{ op: "test", path: "/data/y", value: "3" }]))).toMatchObject({ status: 422 });
    const current = await api.get<ConfigMap>(refTo("a"));
    expect((await api.replace<ConfigMap>({ ...current, data: { z: "4" } }, { dryRun: true })).data).toEqual({ z: "4" });
    expect((await api.get<ConfigMap>(refTo("a"))).data).toEqual({ y: "2" });
    expect(await failure(api.delete(refTo("a"), { uid: "00000000-0000-0000-0000-000000000000" }))).toMatchObject({
      status: 409,
      reason: "Conflict",
    });
    expect(await failure(api.delete(refTo("a"), { resourceVersion: "1" }))).toMatchObject({ status: 409 });
    expect(
      await api.delete(refTo("a"), {
        uid: current.metadata.uid,
        resourceVersion: current.metadata.resourceVersion,
        grace: 0,
        propagation: "Background",
      }),
    ).toBe(true);
    expect(await api.delete(refTo("a"))).toBe(false);
    expect(await failure(api.create(configMap("Not A Name", {})))).toMatchObject({
      status: 422,
      reason: "Invalid",
      details: { kind: "ConfigMap" },
    });
  });

  it("applies what is ours, and names what others own", async () => {
    await api.request("POST", pathOf("ConfigMap", space.name), {
      query: { fieldManager: "kubectl" },
      body: configMap("shared", { ours: "0", theirs: "1" }),
    });
    const error = await failure(api.apply(configMap("shared", { ours: "1" })));
    expect(error).toMatchObject({ status: 409, conflicts: [{ field: ".data.ours", manager: "kubectl" }] });
    expect((await api.apply<ConfigMap>(configMap("shared", { ours: "1" }), { force: true, dryRun: true })).data).toEqual({
      ours: "1",
      theirs: "1",
    });
    expect((await api.get<ConfigMap>(refTo("shared"))).data).toEqual({ ours: "0", theirs: "1" });
    expect((await api.apply<ConfigMap>(configMap("shared", { ours: "1" }), { force: true })).data).toEqual({ ours: "1", theirs: "1" });
    // What we leave out of the next one is removed, what is another's stays.
    expect((await api.apply<ConfigMap>(configMap("shared", {}))).data).toEqual({ theirs: "1" });
  });

  it("tells who may not from who is not known, and a server that is not ours", async () => {
    const access = clusterAccess();
    await api.create({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "nobody", namespace: space.name } });
    const { status } = await api.request<{ status: { token: string } }>("POST", pathOf("ServiceAccount", space.name, "nobody", "token"), {
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 600 } },
    });
    const tokens = [status.token, "not-a-token"].map((token) => new KubeApi({ ...access, auth: { kind: "token", token } }));
    const [nobody, unknown] = tokens;
    expect(await failure(nobody!.get(refTo("shared")))).toMatchObject({ name: "KubeError", status: 403, reason: "Forbidden" });
    expect(await failure(unknown!.get(refTo("shared")))).toMatchObject({ name: "KubeUnreachable", code: "unauthorized" });
    const { ca: _ca, ...untrusting } = access;
    const other = new KubeApi(untrusting);
    expect((await failure(other.get(refTo("shared")))) as unknown as KubeUnreachable).toMatchObject({ code: "certificate_not_trusted" });
    await Promise.all([...tokens, other].map((one) => one.close()));
  });

  it("is listed page by page, and watched from there without a gap", async () => {
    const names = Array.from({ length: 60 }, (_, index) => `many-${String(index).padStart(2, "0")}`);
    const labels = { app: "many" };
    const labelled = (name: string, data: Record<string, string>): KubeObject => ({
      ...configMap(name, data),
      metadata: { name, namespace: space.name, labels },
    });
    for (const name of names) await api.create(labelled(name, { value: "1" }));
    const sizes: number[] = [];
    const options = { namespace: space.name, labels: "app=many", pageSize: 25 };
    for await (const page of listPages(api, "ConfigMap", options)) sizes.push(page.items.length);
    expect(sizes).toEqual([25, 25, 10]);
    expect((await collect(listAll(api, "ConfigMap", options))).map((one) => one.metadata.name)).toEqual(names);

    const changes: unknown[] = [];
    const watched = new Watched<string, ConfigMap>(api, "ConfigMap", {
      ...options,
      project: ({ data }) => data?.["value"],
      onChange: (...change) => changes.push(change),
    });
    await watched.synced;
    expect(watched.items.size).toBe(60);
    changes.length = 0;
    await api.apply(labelled("many-00", { value: "2" }), { force: true });
    await api.delete(refTo("many-01"));
    await api.merge(refTo("many-02"), { metadata: { labels: { app: "another" } } });
    await until(() => changes.length === 3);
    expect(changes).toEqual([
      [`${space.name}/many-00`, "2", "1"],
      [`${space.name}/many-01`, undefined, "1"],
      [`${space.name}/many-02`, undefined, "1"],
    ]);
    expect([watched.lists, watched.since]).toEqual([1, undefined]);
    await watched.close();
  });

  it("tells a watch that its version is too old, in the way that is known", async () => {
    // Of a kind that the cluster learnt of later: of what was before it knows nothing, however young it is.
    const stream = await api
      .stream(pathOf("HTTPRoute", space.name), { query: { watch: true, resourceVersion: "1" } })
      .catch((error: unknown) => error);
    if (stream instanceof Error) {
      expect(stream).toMatchObject({ status: 410, reason: "Expired" });
      return;
    }
    const { value } = await (stream as AsyncGenerator<Buffer>).next();
    await (stream as AsyncGenerator<Buffer>).return(undefined);
    expect(JSON.parse(String(value))).toMatchObject({ type: "ERROR", object: { code: 410, reason: "Expired" } });
  });
});
