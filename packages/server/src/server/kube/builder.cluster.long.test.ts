// Images built inside of a cluster, on a real one: as the account that `berth clusters rbac --builder` prints, by a BuildKit that Berth makes there, pushed from there to a registry.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builderNamespace, builderRules, clusterRules } from "@berth/contract/clusterrights.ts";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { buildkitImage, makeBuildkitImage } from "../../../../../tools/cluster/buildkit-image.ts";
import { loadImage, makeImage, pushTo, shellContent } from "../../../../../tools/cluster/images.ts";
import { kubectl } from "../../../../../tools/cluster/kube.ts";
import { nodeRegistry, registry } from "../../../../../tools/cluster/settings.ts";
import { openBlobFolder } from "../../blobs/folder.ts";
import type { BlobStore } from "../../blobs/store.ts";
import { buildkitPrograms, buildkitProgramsMissing } from "../../builders/testing/buildkit.ts";
import { buildFiles, pidsWhere, processesRunning, until, type Asked, type Run } from "../../builders/testing/imagelab.ts";
import { readConfig, type Config } from "../../config.ts";
import type { ClusterBuilder } from "@berth/contract/resources/clusters.ts";
import { silentLog } from "../../db/log.ts";
import { makeAccount, type PrintedAccount } from "../../engines/kubernetes/testing/account.ts";
import { AskingApi, rightOf, rightsIn, type Need } from "../../engines/kubernetes/testing/asked.ts";
import { accessOf } from "../../engines/kubernetes/testing/place.ts";
import { KubeApi } from "../../kubernetes/api.ts";
import { pathsOf } from "../../paths.ts";
import { builderName, builderObjects, type BuilderOrder } from "./builder-objects.ts";
import { applyBuilder, builderStanding, removeBuilder } from "./builder-pod.ts";
import { openKubeBuilder, type KubeBuilder } from "./builder.ts";

const { missing: noCluster, kubeconfig } = inject("cluster");
const missing = noCluster ?? buildkitProgramsMissing();
const never = new AbortController().signal;
const base = `${nodeRegistry}/test/builder-base:1`;
/** Seconds, as nobody else on this machine sleeps. */
const napping = `300.${process.pid}`;

describe.skipIf(missing !== undefined)(`builds in a cluster${missing === undefined ? "" : ` (${missing})`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-inside-"));
  const installation = randomBytes(8).toString("hex");
  const asked: Need[] = [];
  const mode: ClusterBuilder = { mode: "privileged", image: buildkitImage, cacheGb: 1 };
  let account: PrintedAccount;
  let api: KubeApi;
  let config: Config;
  let builder: KubeBuilder;
  let blobs: BlobStore;

  beforeAll(async () => {
    await loadImage(buildkitImage, await makeBuildkitImage());
    await pushTo(registry, "test/builder-base", "1", await makeImage(await shellContent()));
    account = await makeAccount(kubeconfig, ["--builder"]);
    api = new AskingApi(accessOf(account.kubeconfig), (need) => void asked.push(need));
    const program = join(await buildkitPrograms(), "buildctl");
    config = readConfig({ BERTH_HOME: dir, BERTH_REGISTRY: `${nodeRegistry}/inside`, BERTH_BUILDCTL: program });
    blobs = await openBlobFolder(join(dir, "blobs"));
    builder = open(mode);
  }, 900_000);
  afterEach(() => {
    expect(processesRunning(["sleep", napping])).toBe(0);
  });
  afterAll(async () => {
    await builder?.close();
    if (api !== undefined) await removeBuilder(api, installation, never);
    await api?.close();
    await account?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  function open(wanted: ClusterBuilder, cluster = "inside"): KubeBuilder {
    const login = { host: nodeRegistry, username: "nobody", password: "in-particular", plainHttp: true, readable: true };
    const logins = { find: () => Promise.resolve(login), readable: () => Promise.resolve([login]) };
    const of = { config, paths: pathsOf(config.home, config.runDir), installation, blobs, logins };
    return openKubeBuilder(of, { api, cluster, builder: wanted, program: config.buildctl ?? "", log: silentLog });
  }
  const build = (lines: string, more: Asked = {}): Promise<Run> =>
    buildFiles(
      builder,
      blobs,
      { Dockerfile: `FROM ${base}\n${lines}`, "hello.txt": "hello\n" },
      { destination: { repository: `${nodeRegistry}/inside/shop`, tag: `build-${randomBytes(4).toString("hex")}` }, ...more },
    );
  const pod = async (): Promise<string> => (await builderStanding(api, installation, never)).said;
  const inPod = async (...command: string[]): Promise<string> => kubectl(["-n", builderNamespace, "exec", await pod(), "--", ...command]);
  const sleeping = (): boolean => processesRunning(["sleep", napping]) === 1;

  it("are pushed by the cluster's own builder, which the first one makes, and open no port for it", async () => {
    const { outcome, lines, steps } = await build("COPY hello.txt /made\nRUN cat /made > /again", { secrets: {} });
    if (!outcome.ok) throw new Error(`${JSON.stringify(outcome.cause)}\n${lines.join("\n")}`);
    expect(outcome.reference).toBe(`${nodeRegistry}/inside/shop@${outcome.digest}`);
    expect(outcome.bases).toMatchObject([{ name: expect.stringContaining("test/builder-base") as string }]);
    expect(lines.filter((line) => line.startsWith("Waiting for the cluster's builder: "))).not.toEqual([]);
    expect(steps).not.toEqual([]);
    const accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    expect((await fetch(`http://${nodeRegistry}/v2/inside/shop/manifests/${outcome.digest}`, { headers: { accept } })).status).toBe(200);
    expect((await inPod("netstat", "-tln")).split("\n").filter((line) => /LISTEN/.test(line))).toEqual([]);
  });

  it("use what an earlier one has made, also when the pod is another one since", async () => {
    const slow = "RUN sleep 2; date > /when";
    const took = async (): Promise<number> => {
      const began = performance.now();
      const { outcome, lines } = await build(slow);
      expect(outcome, lines.join("\n")).toMatchObject({ ok: true });
      return performance.now() - began;
    };
    const [first, second] = [await took(), await took()];
    expect(second).toBeLessThan(first - 1_500);
    await kubectl(["-n", builderNamespace, "delete", "pod", await pod()]);
    const { outcome, lines } = await build(slow);
    expect(outcome, lines.join("\n")).toMatchObject({ ok: true });
    expect(
      lines.some((line) => line.includes("sleep 2") && line.endsWith("(cached)")),
      lines.join("\n"),
    ).toBe(true);
    console.log(`in a cluster: first ${String(Math.round(first))} ms, from its cache ${String(Math.round(second))} ms`);
  });

  it("show a secret to the step that asks for it; none lies in the cluster, and no password either", async () => {
    const secret = "hunter2-hunter2";
    const { outcome, lines } = await build("RUN --mount=type=secret,id=token,required wc -c < /run/secrets/token", {
      secrets: { token: secret },
    });
    expect(outcome, lines.join("\n")).toMatchObject({ ok: true });
    expect(lines).toContain(String(secret.length));
    const all = await kubectl(["-n", builderNamespace, "get", "all,configmaps,secrets", "-o", "yaml"]);
    for (const word of [secret, "in-particular"]) expect(all).not.toContain(word);
  });

  it("end with all that they run when they are cancelled, and at their deadline", async () => {
    const stop = new AbortController();
    const cancelled = build(`RUN exec sleep ${napping}`, { signal: stop.signal });
    cancelled.catch(() => undefined);
    await until(sleeping, "the step to run");
    stop.abort(new Error("enough"));
    await expect(cancelled).rejects.toThrow("enough");
    await until(() => !sleeping(), "the step to end");
    const late = await build(`RUN exec sleep ${napping}`, { deadline: 3_000 });
    expect(late.outcome).toMatchObject({ ok: false, cause: { code: "build_deadline" } });
    await until(() => !sleeping(), "the step to end");
  });

  it("say why in one sentence when the builder ends in the middle, are begun once more, and are given up then", async () => {
    const running = build(`RUN exec sleep ${napping}`);
    for (const time of [1, 2]) {
      await until(sleeping, `the step to run for the ${String(time)}. time`);
      await kubectl(["-n", builderNamespace, "delete", "pod", await pod(), "--wait=false"]);
      await until(() => !sleeping(), "the step to end");
    }
    const { outcome, lines } = await running;
    expect(outcome).toMatchObject({
      ok: false,
      cause: { code: "cluster_builder_lost", params: { cluster: "inside", reason: "its pod was removed" } },
    });
    expect(lines).toContain("The builder ended in the middle: its pod was removed. The build is begun again.");
  });

  it("go on in another pod when the builder is killed in the middle", async () => {
    const running = build(
      `RUN test -f /cache/once || { touch /cache/once; exec sleep ${napping}; }`.replace(
        "RUN",
        "RUN --mount=type=cache,id=c,target=/cache",
      ),
    );
    await until(sleeping, "the step to run");
    // From outside: what is the first process of its own namespace takes it from nobody inside.
    const uid = await kubectl(["-n", builderNamespace, "get", "pod", await pod(), "-o", "jsonpath={.metadata.uid}"]);
    const pids = pidsWhere((line) => line.startsWith("/bin/buildkitd\0")).filter((pid) =>
      readFileSync(`/proc/${String(pid)}/cgroup`, "utf8").includes(uid),
    );
    expect(pids).toHaveLength(1);
    process.kill(pids[0] ?? 0, "SIGKILL");
    const { outcome, lines } = await running;
    expect(outcome, lines.join("\n")).toMatchObject({ ok: true });
    expect(lines.find((line) => line.startsWith("The builder ended in the middle: it was ended by signal 9"))).toBeDefined();
  });

  it("say why there is no builder", async () => {
    await builder.close();
    builder = open({ ...mode, image: "localhost/berth-none:1" });
    const { outcome } = await build("RUN true");
    expect(outcome).toMatchObject({
      ok: false,
      cause: {
        code: "cluster_builder_unready",
        params: { cluster: "inside", reason: expect.stringMatching(/berth-none|pull/i) as string },
      },
    });
  });

  it("take exactly the rights that are printed for them", () => {
    const granted = new Set<string>([
      ...rightsIn(clusterRules).map(({ right }) => `the cluster: ${right}`),
      ...rightsIn(builderRules).map(({ right }) => `builders: ${right}`),
    ]);
    const places = (need: Need): string[] => ["the cluster", ...(need.namespace === builderNamespace ? ["builders"] : [])];
    const removing: Need[] = ["deployments", "persistentvolumeclaims", "configmaps", "networkpolicies"].map((resource) => ({
      ...{ namespace: builderNamespace, resource, name: undefined, verb: "delete" },
      group: { deployments: "apps", networkpolicies: "networking.k8s.io" }[resource] ?? "",
    }));
    const used = [...asked, ...removing].map(
      (need) =>
        places(need)
          .map((where) => `${where}: ${rightOf(need)}`)
          .find((right) => granted.has(right)) ?? rightOf(need),
    );
    expect(used.filter((right) => !granted.has(right))).toEqual([]);
    const builders = [...granted].filter((right) => right.startsWith("builders: "));
    expect(builders.filter((right) => !used.includes(right))).toEqual([]);
  });

  it("could be rootless: the cluster takes each object of that, too", async () => {
    const order: BuilderOrder = {
      ...{ installation: `${installation}-rootless`, memory: 1e9, plainHttp: [] },
      builder: { mode: "rootless", image: buildkitImage, cacheGb: 1 },
    };
    await applyBuilder(api, order, never, { dryRun: true });
    const { deployment } = builderObjects(order);
    const { template } = deployment.spec as { readonly template: { readonly spec: object } };
    const admin = new KubeApi(accessOf(readFileSync(kubeconfig, "utf8")));
    try {
      const name = builderName(order.installation);
      const podObject = { apiVersion: "v1", kind: "Pod", metadata: { namespace: builderNamespace, name }, spec: template.spec };
      // As the controller would make it: with the level of security that the namespace keeps to.
      expect(await admin.create(podObject, { dryRun: true })).toMatchObject({
        spec: { containers: [{ securityContext: { runAsUser: 1000, privileged: false } }] },
      });
    } finally {
      await admin.close();
    }
  });
});
