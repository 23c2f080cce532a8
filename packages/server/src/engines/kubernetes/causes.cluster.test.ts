// Why nothing runs, in one sentence, provoked for real: a cluster that has no room, refuses, does not find, is asked by somebody without rights, or ends a program.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import type { Cause } from "@berth/contract/causes.ts";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { readKubeconfig } from "../../core/kubeconfig.ts";
import { KubeApi } from "../../kubernetes/api.ts";
import { listed } from "../../kubernetes/list.ts";
import { never, until } from "../conformance/lab.ts";
import { EngineFailure, type Instance, type Ref, type Workload } from "../engine.ts";
import { KubernetesEngine } from "./engine.ts";
import { namespaceOf } from "./names.ts";
import { KubernetesPlace, nobody, nobodyImage } from "./testing/place.ts";

const { missing, kubeconfig } = inject("cluster");
const mark = randomBytes(3).toString("hex");

describe.skipIf(missing !== undefined)(`causes on Kubernetes${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubernetesPlace;
  let stacks = 0;
  let generation = 0;
  const fence = () => ({ installation: "lab", epoch: 1, generation: (generation += 1) });
  const newRef = (): Ref => ({ stack: `causes-${mark}-${String((stacks += 1))}`, component: "web" });

  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
    place = await KubernetesPlace.open(readFileSync(kubeconfig, "utf8"));
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  const prepare = (workload: Workload, engine = place.engine): Promise<void> => engine.prepare(workload, fence(), never);
  const ensure = (workload: Workload): Promise<void> =>
    place.engine.ensure({ ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1 }, fence(), never);
  const run = async (over: Partial<Workload>, ref = newRef()): Promise<Ref> => {
    const workload = await place.workload("run", { ref, ...over });
    await prepare(workload);
    await ensure(workload);
    return ref;
  };
  const instance = async (ref: Ref): Promise<Instance | undefined> => (await place.engine.observe(ref, never))?.instances[0];
  /** The component's instance when this is its cause. */
  const endOf = (ref: Ref, code: string): Promise<Instance> =>
    until(
      async () => {
        const found = await instance(ref);
        return found?.cause?.code === code && found;
      },
      code,
      120_000,
    );
  const causeOf = async (ref: Ref, code: string): Promise<Cause> => (await endOf(ref, code)).cause!;
  const failureOf = async (doing: Promise<unknown>): Promise<EngineFailure> => {
    const error: unknown = await doing.then(
      () => undefined,
      (failed: unknown) => failed,
    );
    if (!(error instanceof EngineFailure)) throw new Error("it did not fail as an engine does", { cause: error });
    return error;
  };
  /** A namespace as the engine makes it, before anything runs there. */
  const namespaceFor = async (ref: Ref): Promise<void> => prepare(await place.workload("run", { ref }));

  it("names what no node has: unschedulable", async () => {
    const why = await causeOf(await run({ resources: { cpu: 500 } }), "unschedulable");
    expect(why.params["reason"]).toMatch(/Insufficient cpu/);
    expect(why.evidence[0]).toMatchObject({ kind: "event" });
  });

  it("names the image that is not there: image_not_found, and the registry that does not answer: image_pull_failed", async () => {
    const of = (reference: string) => run({ artifact: { kind: "image", reference } });
    const [absent, silent] = [await of(`${inject("cluster").registry}/nobody/nothing:1`), await of("127.0.0.1:9/some/thing:1")];
    expect(await causeOf(absent, "image_not_found")).toMatchObject({
      params: { image: expect.stringContaining("nobody/nothing") as string },
    });
    expect((await causeOf(silent, "image_pull_failed")).params["reason"]).toMatch(/refused/);
  });

  it("tells an end by its limit, its exit and its command: out_of_memory, exited_at_start, command_not_found", async () => {
    const greedy = await run({ command: { shell: "echo eating; exec tail /dev/zero" }, resources: { memory: 16 * 1024 * 1024 } });
    const broken = await run({ command: { shell: "echo 'no licence' >&2; exit 7" } });
    const absent = await run({ command: { exec: ["/bin/nothing"] } });
    expect(await endOf(greedy, "out_of_memory")).toMatchObject({ cause: { params: { limit: "16 MiB" } }, lastExit: { outOfMemory: true } });
    const why = await causeOf(broken, "exited_at_start");
    expect(why.params).toMatchObject({ exitCode: 7 });
    expect(why.evidence.map(({ kind, text }) => `${kind} ${text}`)).toContain("log no licence");
    expect(await causeOf(absent, "command_not_found")).toMatchObject({ params: { command: "/bin/nothing" } });
  });

  it("tells a quota that is used up before anything is made: cluster_quota_exceeded", async () => {
    const ref = newRef();
    await namespaceFor(ref);
    const quota = {
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata: { namespace: namespaceOf(ref), name: "small" },
      spec: { hard: { pods: "0" } },
    };
    await place.api.create(quota);
    // The quota counts once its controller has seen it.
    const refused = await until(async () => {
      const workload = await place.workload("run", { ref });
      return prepare(workload).then(
        () => undefined,
        (error: unknown) => error as EngineFailure,
      );
    }, "the quota holds");
    expect(refused.failure).toMatchObject({ code: "cluster_quota_exceeded", params: { quota: "small" } });
  });

  it("tells who refuses: admission_denied by a level of pod security", async () => {
    const ref = newRef();
    await namespaceFor(ref);
    await place.restrict(namespaceOf(ref));
    const { failure } = await failureOf(prepare(await place.workload("run", { ref, securityProfile: "baseline" })));
    expect(failure).toMatchObject({ code: "admission_denied", params: { by: "the pod security level restricted:latest" } });
    // What Berth built keeps to it.
    await prepare(await place.workload("run", { ref }));
  });

  it("tells the webhook that does not answer: webhook_down", async () => {
    const ref = newRef();
    const name = `berth-test-${mark}`;
    await namespaceFor(ref);
    await place.api.merge({ kind: "Namespace", name: namespaceOf(ref) }, { metadata: { labels: { [name]: "yes" } } });
    const path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    const webhook = {
      name: "away.example.com",
      clientConfig: { url: "https://127.0.0.1:9/" },
      rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] }],
      namespaceSelector: { matchLabels: { [name]: "yes" } },
      sideEffects: "None",
      admissionReviewVersions: ["v1"],
      timeoutSeconds: 2,
    };
    await place.api.request("POST", path, {
      body: {
        apiVersion: "admissionregistration.k8s.io/v1",
        kind: "ValidatingWebhookConfiguration",
        metadata: { name },
        webhooks: [webhook],
      },
    });
    try {
      const refused = await until(
        async () =>
          prepare(await place.workload("run", { ref })).then(
            () => undefined,
            (error: unknown) => error as EngineFailure,
          ),
        "the webhook is asked",
      );
      expect(refused).toMatchObject({ retryable: true, failure: { code: "webhook_down", params: { webhook: "away.example.com" } } });
    } finally {
      await place.api.request("DELETE", `${path}/${name}`);
    }
  });

  it("leaves a namespace alone that it did not make, or that goes: namespace_of_others, namespace_terminating", async () => {
    const [taken, going] = [newRef(), newRef()];
    await place.api.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespaceOf(taken) } });
    const theirs = await failureOf(prepare(await place.workload("run", { ref: taken })));
    // Nor is anything put there by whoever takes away what never came to be.
    await place.engine.remove(taken, fence(), never);
    expect(await place.engine.forget({ id: "x", name: taken.stack, volumes: "none" }, never)).toBe(true);
    expect(await listed(place.api, "ConfigMap", { namespace: namespaceOf(taken), labels: "berth.installation" })).toEqual([]);
    expect((await place.api.get({ kind: "Namespace", name: namespaceOf(taken) })).metadata.deletionTimestamp).toBeUndefined();
    expect(theirs.failure).toMatchObject({ code: "namespace_of_others", params: { namespace: namespaceOf(taken), cluster: "test" } });
    await place.api.delete({ kind: "Namespace", name: namespaceOf(taken) });
    await namespaceFor(going);
    const held = { kind: "ConfigMap", namespace: namespaceOf(going), name: "held" } as const;
    await place.api.create({ apiVersion: "v1", kind: "ConfigMap", metadata: { ...held, finalizers: ["example.com/held"] } });
    const forget = (): Promise<boolean> => place.engine.forget({ id: "x", name: going.stack, volumes: "none" }, never);
    expect(await forget()).toBe(false);
    const terminating = async (): Promise<EngineFailure> => failureOf(prepare(await place.workload("run", { ref: going })));
    expect(await terminating()).toMatchObject({ retryable: true, failure: { code: "namespace_terminating" } });
    await until(
      async () => /finalizers remaining: example\.com\/held/.test(String((await terminating()).failure.params["held"])),
      "the cluster says what holds it",
      120_000,
    );
    // Nobody's hands are held by one that is stuck: it is looked at once.
    using asked = vi.spyOn(place.api, "request");
    expect(await forget()).toBe(false);
    expect(asked.mock.calls.filter(([, path]) => path.endsWith(`/namespaces/${namespaceOf(going)}`))).toHaveLength(1);
    await place.api.merge(held, { metadata: { finalizers: null } });
    await until(forget, "it is gone", 120_000);
  });

  it("says of an instance that cannot start that what it is started from is gone, until it is given back", async () => {
    const workload = await place.workload("run", { ref: newRef(), env: { PASSWORD: "tr0ub4dor" }, secretValues: ["tr0ub4dor"] });
    await prepare(workload);
    const namespace = namespaceOf(workload.ref);
    // A kubelet that has read an immutable Secret for a pod needs it no more: another one does.
    for (const { metadata } of await listed(place.api, "Secret", { namespace }))
      await place.api.delete({ kind: "Secret", namespace, name: metadata.name });
    await ensure(workload);
    await until(async () => (await instance(workload.ref))?.unprepared, "it misses its secret", 120_000);
    await prepare(workload);
    expect(await instance(workload.ref)).not.toHaveProperty("unprepared");
    await until(async () => (await instance(workload.ref))?.phase === "running", "it runs", 120_000);
  });

  it("tells what the cluster does not take as it is described: object_refused", async () => {
    const twice = ["one", "two"].map((volume) => ({ volume, path: "/data" }));
    const { failure, retryable } = await failureOf(prepare(await place.workload("run", { ref: newRef(), volumes: twice })));
    expect(failure).toMatchObject({
      code: "object_refused",
      params: { reason: expect.stringMatching(/mountPath.*must be unique/) as string },
    });
    expect(retryable).toBe(false);
  });

  it("removes a Secret that nothing refers to, an hour after it was prepared and not before", async () => {
    const ref = newRef();
    const secret = { env: { PASSWORD: "tr0ub4dor" }, secretValues: ["tr0ub4dor"] };
    const [old, next] = [
      await place.workload("run", { ref, ...secret }),
      await place.workload("run", { ref, ...secret, releaseNumber: 2 }),
    ];
    for (const workload of [old, next]) await prepare(workload);
    await ensure(old);
    const [first] = (await place.engine.observe(ref, never))?.instances ?? [];
    const secrets = async () => {
      const path = `/api/v1/namespaces/${namespaceOf(ref)}/secrets`;
      const { items } = await place.api.request<{ readonly items: readonly { readonly metadata: { readonly name: string } }[] }>(
        "GET",
        path,
      );
      return items.map(({ metadata }) => metadata.name);
    };
    const before = await secrets();
    expect(before.length).toBe(2);
    await place.engine.stop(ref, [first?.id ?? ""], 0, fence(), never);
    expect(await secrets()).toEqual(before);
    for (const name of before)
      await place.api.merge(
        { kind: "Secret", namespace: namespaceOf(ref), name },
        { metadata: { annotations: { "berth.prepared-at": new Date(Date.now() - 2 * 3_600_000).toISOString() } } },
      );
    await ensure(next);
    const second = await until(
      async () => (await place.engine.observe(ref, never))?.instances.find(({ id }) => id !== first?.id),
      "the next one",
    );
    await place.engine.ensure({ ref, track: "candidate", workload: next, restart: 0, replicas: 1 }, fence(), never);
    await place.engine.stop(ref, [second.id], 0, fence(), never);
    // What the candidate refers to stays, whatever its age.
    expect((await secrets()).length).toBe(1);
  });

  it("tells whose word stands against its own: field_conflict", async () => {
    const ref = newRef();
    await namespaceFor(ref);
    const name = namespaceOf(ref);
    // As `kubectl apply --server-side --force-conflicts` does it.
    await place.api.request("PATCH", `/api/v1/namespaces/${name}`, {
      query: { fieldManager: "somebody", force: true },
      type: "application/apply-patch+yaml",
      body: { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { "berth.stack-id": "theirs" } } },
    });
    const { failure } = await failureOf(prepare(await place.workload("run", { ref })));
    expect(failure).toMatchObject({
      code: "field_conflict",
      params: { manager: "somebody", field: expect.stringContaining("berth.stack-id") as string },
    });
  });

  it("tells which right is missing: cluster_rights_missing; and says so of a cluster that does not answer: cluster_unreachable", async () => {
    const ref = newRef();
    await namespaceFor(ref);
    const namespace = namespaceOf(ref);
    await place.api.create({ apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name: "reader" } });
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
    const { status } = await place.api.request<{ readonly status: { readonly token: string } }>(
      "POST",
      `/api/v1/namespaces/${namespace}/serviceaccounts/reader/token`,
      { body },
    );
    // Reading is what it may; the role goes with the test.
    const role = `berth-test-${mark}`;
    const rbac = "/apis/rbac.authorization.k8s.io/v1";
    const rule = { apiGroups: ["*"], resources: ["pods", "namespaces", "configmaps"], verbs: ["get", "list", "watch"] };
    await place.api.request("POST", `${rbac}/clusterroles`, {
      body: { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: role }, rules: [rule] },
    });
    await place.api.request("POST", `${rbac}/clusterrolebindings`, {
      body: {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRoleBinding",
        metadata: { name: role },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
        subjects: [{ kind: "ServiceAccount", namespace, name: "reader" }],
      },
    });
    const read = readKubeconfig(readFileSync(kubeconfig, "utf8"));
    if ("refusal" in read) throw new Error(read.refusal.reason);
    const { access } = read.config;
    const open = (server: string): KubernetesEngine =>
      new KubernetesEngine({
        api: new KubeApi({ ...access, server, auth: { kind: "token", token: status.token } }),
        cluster: "test",
        installation: place.installation,
        registries: nobody,
      });
    try {
      await using reader = open(access.server);
      const { failure } = await failureOf(prepare(await place.workload("run", { ref }), reader));
      expect(failure).toMatchObject({
        code: "cluster_rights_missing",
        params: { user: `system:serviceaccount:${namespace}:reader`, verb: "patch", resource: "rolebindings" },
      });
      await using away = open("https://127.0.0.1:9");
      expect(await away.capabilities(never)).toMatchObject({ reachable: false, notices: [{ code: "cluster_unreachable" }] });
      // Its things are unknown, and not gone.
      const started = performance.now();
      await expect(away.observe(ref, AbortSignal.timeout(40_000))).rejects.toMatchObject({
        failure: { code: "cluster_unreachable" },
        retryable: true,
      });
      expect(performance.now() - started).toBeLessThan(30_000);
    } finally {
      for (const kind of ["clusterroles", "clusterrolebindings"]) await place.api.request("DELETE", `${rbac}/${kind}/${role}`);
    }
  });

  it("keeps one cause for each run, and the pod that somebody removed comes back", async () => {
    const ref = await run({});
    const first = await until(async () => {
      const one = await instance(ref);
      return one?.ready === true && one;
    }, "it runs");
    await place.api.delete({ kind: "Pod", namespace: namespaceOf(ref), name: first.id }, { grace: 1 });
    const second = await until(async () => {
      const all = (await place.engine.observe(ref, never))?.instances ?? [];
      return all.length === 1 && all[0]?.id !== first.id && all[0]?.ready === true && all[0];
    }, "another one runs");
    expect(second.cause).toBeUndefined();
  });
});
