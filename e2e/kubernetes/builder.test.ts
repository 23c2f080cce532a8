// A server that builds no images itself, and a cluster that does: source becomes a component that answers through the gateway, and the server has no daemon beside it.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { builderNamespace } from "@berth/contract/clusterrights.ts";
import { buildkitPrograms, buildkitProgramsMissing } from "../../packages/server/src/builders/testing/buildkit.ts";
import { makeAccount, type PrintedAccount } from "../../packages/server/src/engines/kubernetes/testing/account.ts";
import { buildkitImage, makeBuildkitImage } from "../../tools/cluster/buildkit-image.ts";
import { loadImage, makeImage, pushTo, shellContent } from "../../tools/cluster/images.ts";
import { kubectl } from "../../tools/cluster/kube.ts";
import { nodeRegistry, registry } from "../../tools/cluster/settings.ts";
import { getThrough, TestBerth, until, type Answer, type Contents, type Files } from "../harness.ts";

const cluster = inject("cluster");
const missing = cluster.missing ?? buildkitProgramsMissing();
const stack = `inside-${randomBytes(2).toString("hex")}`;
const compose: Files = { "compose.yaml": "services:\n  web:\n    build: .\n    ports: ['8080']\n" };
const source = (text: string): Contents => ({
  Dockerfile: `FROM ${nodeRegistry}/test/builder-base:1
RUN mkdir -p /site && sleep 1
COPY index.html /site/
USER 65534:65534
ENTRYPOINT ["/bin/sh", "-c", "exec httpd -f -p $PORT -h /site"]
`,
  "index.html": `${text}\n`,
});

describe.skipIf(missing !== undefined)(`a cluster that builds its own images${missing === undefined ? "" : ` (${missing})`}`, () => {
  const domain = `${randomBytes(4).toString("hex")}.apps.test`;
  const folder = mkdtempSync(join(tmpdir(), "berth-account-"));
  const kubeconfig = join(folder, "berth.kubeconfig");
  let account: PrintedAccount;
  let berth: TestBerth;

  beforeAll(async () => {
    await loadImage(buildkitImage, await makeBuildkitImage());
    await pushTo(registry, "test/builder-base", "1", await makeImage(await shellContent()));
    account = await makeAccount(cluster.kubeconfig, ["--builder"]);
    writeFileSync(kubeconfig, account.kubeconfig);
    berth = await TestBerth.start({
      BERTH_REGISTRY: `${nodeRegistry}/${stack}`,
      BERTH_BUILDCTL: join(await buildkitPrograms(), "buildctl"),
    });
    const added = ["registries", "add", nodeRegistry, "--username", "nobody", "--password-stdin", "--plain-http"];
    expect(await berth.cli(added, undefined, "in-particular")).toMatchObject({ code: 0 });
  });
  afterAll(async () => {
    await berth?.stop();
    await account?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  const add = (...more: string[]): ReturnType<TestBerth["cli"]> =>
    berth.cli(["clusters", "add", "kube", "--kubeconfig", kubeconfig, "--domain", domain, "--gateway", "default/public", ...more]);
  const get = (): Promise<Answer> => {
    const { hostname, port } = new URL(cluster.gateway);
    return getThrough({ host: hostname, port, agent: false }, `web.${stack}.${domain}`, "/", {});
  };
  /** The gateway may lead some to the one before for a moment, which still answers them. */
  const answers = (text: string): Promise<unknown> =>
    until(async () => ((await get()).body === `${text}\n` ? true : undefined), `"${text}" to be answered`, 60_000);
  const deploy = async (text: string): Promise<number> => {
    const began = performance.now();
    const [rollout] = await berth.deployed(stack, compose, { ".": source(text) });
    expect(rollout).toMatchObject({ phase: "succeeded", ready: 1 });
    return Math.round(performance.now() - began);
  };

  test("is asked for what it needs before it is added, and shown with its builder", async () => {
    expect(await add("--builder-image", "x")).toMatchObject({ code: 2, said: expect.stringContaining("--builder rootless") as string });
    expect(await add("--builder", "quick")).toMatchObject({ code: 2 });
    const { said } = await add("--builder", "privileged", "--builder-image", buildkitImage, "--builder-cache", "1");
    expect(said, berth.log()).toContain("kube is connected");
    expect((await berth.cli(["clusters", "show", "kube"])).said).toContain(`privileged, ${buildkitImage}, 1 GB of cache`);
    const doctor = (await berth.cli(["doctor"])).said;
    expect(doctor).toMatch(/builder of cluster kube.*its first build makes it/);
    expect(doctor).toMatch(/registry.*takes images/s);
  });

  test("builds a stack's source, pushes it, runs it, and it answers", async () => {
    await berth.client.createStack({ body: { name: stack, cluster: "kube" } });
    const first = await deploy("one");
    await answers("one");
    const image = await kubectl(["-n", `berth-${stack}`, "get", "pods", "-o", "jsonpath={.items[0].spec.containers[0].image}"]);
    expect(image).toMatch(new RegExp(`^${nodeRegistry}/${stack}/.*@sha256:[0-9a-f]{64}$`));
    const second = await deploy("two");
    await answers("two");
    expect((await berth.cli(["builds", "logs", "2", "-s", stack])).said).toMatch(/sleep 1.*\(cached\)/);
    expect((await berth.cli(["doctor"])).said).toMatch(/builder of cluster kube.*BuildKit answers in pod builder-/);
    console.log(`source to verified: ${String(first)} ms with a builder that is made for it, ${String(second)} ms afterwards`);
  });

  test("says what is in the image and what it stands on, and what nobody could look into", async () => {
    const bill = JSON.parse((await berth.cli(["builds", "sbom", "2", "-s", stack])).said) as unknown;
    expect(JSON.stringify(bill)).toContain("packages of the image's operating system");
    const origin = (await berth.cli(["builds", "provenance", "2", "-s", stack])).said;
    expect(origin).toContain("test/builder-base");
  });

  test("ends a build that is cancelled", async () => {
    const made = await berth.up(stack, compose, {
      ".": { ...source("three"), Dockerfile: `FROM ${nodeRegistry}/test/builder-base:1\nRUN sleep 250\n` },
    });
    await until(
      async () => ((await berth.cli(["builds", "logs", "3", "-s", stack])).said.includes("RUN sleep 250") ? true : undefined),
      "the step runs",
      120_000,
    );
    expect(await berth.cli(["builds", "cancel", "3", "-s", stack])).toMatchObject({ code: 0 });
    await berth.ended(stack, "web", made.rollouts[0]?.number ?? 0);
    expect((await berth.client.showBuild({ params: { stack, build: 3 } })).phase).toBe("cancelled");
    expect((await get()).body).toBe("two\n");
  });

  test("is removed with its builder", async () => {
    await berth.client.deleteStack({ params: { stack }, query: {} });
    await until(
      async () => ((await berth.cli(["clusters", "remove", "kube", "--yes"])).code === 0 ? true : undefined),
      "it can be removed",
      240_000,
    );
    const { id } = await berth.client.showInstallation();
    const left = await kubectl([
      "-n",
      builderNamespace,
      "get",
      "deployments,configmaps,networkpolicies,persistentvolumeclaims",
      "-o",
      "json",
    ]);
    const items = (JSON.parse(left) as { items: { metadata: { annotations?: Record<string, string>; deletionTimestamp?: string } }[] })
      .items;
    expect(
      items.filter(({ metadata }) => metadata.annotations?.["berth.installation"] === id && metadata.deletionTimestamp === undefined),
    ).toEqual([]);
  });
});
