// One component in two clusters, a Docker host and Kubernetes, with one image: its release goes through them in order, each is proved through its own door, and what fails or is away in one
// stays there.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { readKubeconfig } from "../../packages/server/src/core/kubeconfig.ts";
import { BadDays } from "../../packages/server/src/kubernetes/testing/proxy.ts";
import { until, webApp } from "../harness.ts";
import { KubePlace, missingBeside } from "./place.ts";

const cluster = inject("cluster");
const missing = missingBeside(cluster);
const stack = "in-two-clusters";
const params = { stack, component: "web" };
const pause = 4_000;

describe.skipIf(missing !== undefined)(`A component in several clusters (${missing ?? "of two kinds"})`, () => {
  let place: KubePlace;
  let days: BadDays;
  let home: string;
  let isDown = false;

  beforeAll(async () => {
    place = await KubePlace.open(cluster);
    const read = readKubeconfig(readFileSync(cluster.kubeconfig, "utf8"));
    if ("refusal" in read) throw new Error(read.refusal.reason);
    days = await BadDays.open(read.config.access);
    const file = join(place.berth.home, "far.kubeconfig");
    writeFileSync(file, days.kubeconfig(), { mode: 0o600 });
    const added = await place.berth.cli(["clusters", "add", "far", "--kubeconfig", file, "--domain", place.domain]);
    expect(added).toMatchObject({ code: 0 });
    home = (await place.berth.client.listClusters({ query: {} })).items.find(({ engine }) => engine === "docker")?.name ?? "";
    await place.berth.client.createStack({ body: { name: stack, cluster: home } });
  });
  afterAll(async () => {
    // Through it goes what is to be cleared.
    if (isDown) await days.up();
    await place?.[Symbol.asyncDispose]();
    await days?.[Symbol.asyncDispose]();
  });

  /** What `berth up` is given. */
  function folder(version: string, more = ""): string {
    const path = join(place.berth.home, `project-${version}`);
    mkdirSync(path, { recursive: true });
    const files: Record<string, string> = {
      ...webApp(version, more),
      "compose.yaml": `services:
  web:
    build: .
    ports: ["8080:3000"]
    environment: { PORT: "3000" }
    x-berth:
      placement:
        clusters: [{ name: ${home}, replicas: 1 }, { name: far, replicas: 2 }]
        pause: ${String(pause / 1000)}s
`,
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
    return path;
  }
  const up = (version: string, more = "", ...flags: string[]) =>
    place.berth.cli(["up", "-s", stack, "--yes", ...flags], folder(version, more));
  const shown = () => place.berth.client.showComponent({ params });
  const rollouts = async () => (await place.berth.client.listRollouts({ params, query: { sort: "number" } })).items;
  const serves = async () => {
    const here = await place.berth.get(`web.${stack}.localhost`);
    const far = await place.get(place.host("web", stack));
    return [here.body, far.body].map((body) => /one|two|three|four/.exec(body)?.[0] ?? body);
  };
  const served = (...versions: string[]) =>
    until(
      async () => ((await serves()).join() === versions.join() ? true : undefined),
      `${versions.join(" and ")} to be served`,
      60_000,
      () => place.berth.log(),
    );

  test("a release goes through them in order, with the pause between, and each answers at its own door", async () => {
    const made = await up("one");
    expect(made, made.said).toMatchObject({ code: 0 });
    expect(made.said).toContain(`web (${home})`);
    expect(made.said).toContain("web (far)");
    const [first, second] = (await rollouts()).toSorted((one, other) => one.number - other.number);
    expect([first?.cluster, second?.cluster]).toEqual([home, "far"]);
    expect(Date.parse(second?.startedAt ?? "") - Date.parse(first?.endedAt ?? "")).toBeGreaterThanOrEqual(pause);
    expect(second?.verified?.[0]).toMatchObject({ status: 200 });
    await served("one", "one");
    await expect.poll(shown, { timeout: 60_000 }).toMatchObject({
      state: "healthy",
      replicas: 3,
      ready: 3,
      clusters: [
        { name: home, ready: 1, replicas: 1, release: 1 },
        { name: "far", ready: 2, replicas: 2, release: 1 },
      ],
    });
    const { said } = await place.berth.cli(["status", "-s", stack]);
    expect(said).toMatch(/web +far +healthy +2\/2 +v1/);
    expect((await place.berth.client.listInstances({ params, query: {} })).items.map((one) => one.cluster).toSorted()).toEqual(
      [home, "far", "far"].toSorted(),
    );
  });

  test("what fails in the second stops there, with its reason, and that one goes on with what it had", async () => {
    const made = await up("two", "if (process.env.KUBERNETES_SERVICE_HOST !== undefined) process.exit(7);");
    expect(made.code, made.said).toBe(4);
    expect(made.said).toContain("web (far)");
    expect(made.said).toContain("exit code 7");
    await served("two", "one");
    await expect
      .poll(async () => (await shown()).clusters, { timeout: 60_000 })
      .toMatchObject([
        { name: home, release: 2, rollout: { phase: "succeeded" } },
        { name: "far", release: 1, ready: 2, rollout: { phase: "failed" } },
      ]);
    const back = await place.berth.cli(["rollback", "web", "-s", stack]);
    expect(back, back.said).toMatchObject({ code: 0 });
    await served("one", "one");
  });

  test("one that is away keeps only its own work waiting, and says so", async () => {
    await days.down();
    isDown = true;
    await until(async () => (await shown()).clusters?.find(({ name }) => name === "far")?.unknownSince, "it to be missed", 120_000);
    const made = await up("three", "", "--no-wait");
    expect(made, made.said).toMatchObject({ code: 0 });
    await until(
      async () =>
        (await rollouts()).some((one) => one.cluster === home && one.release === 3 && one.phase === "succeeded") ? true : undefined,
      "the first cluster",
      180_000,
      () => place.berth.log(),
    );
    await served("three", "one");
    expect((await place.berth.cli(["status", "-s", stack])).said).toMatch(/web +far +unknown since/);
    const { said } = await place.berth.cli(["logs", "web", "-s", stack]);
    expect(said).toMatch(/far does not answer/);
    const scaled = await place.berth.cli(["scale", "web=2", "-s", stack, "--no-wait"]);
    expect(scaled, scaled.said).toMatchObject({ code: 0 });
    await days.up();
    isDown = false;
    const watched = await place.berth.cli(["rollouts", "watch", "-s", stack]);
    expect(watched, watched.said).toMatchObject({ code: 0 });
    await served("three", "three");
    await until(async () => ((await shown()).ready === 2 ? true : undefined), "one in each", 120_000);
  });

  test("leaves a cluster, with all that was there of it, once the other has it", async () => {
    await until(async () => ((await place.uids(stack)).length === 1 ? true : undefined), "one in the cluster", 120_000);
    const placed = await place.berth.cli(["place", "web", "--off", "-s", stack]);
    expect(placed, placed.said).toMatchObject({ code: 0 });
    await until(
      async () => ((await place.api.find({ kind: "Namespace", name: `berth-${stack}` })) === undefined ? true : undefined),
      "its namespace to go",
      240_000,
      () => place.berth.log(),
    );
    await until(async () => ((await shown()).clusters === undefined ? true : undefined), "its part there to go", 120_000);
    await expect.poll(shown, { timeout: 120_000 }).toMatchObject({ state: "healthy", replicas: 2, ready: 2 });
  });
});
