// A registry that tells Berth of what is pushed: a component that follows a tag gets what it was moved to, once, and nothing else moves anything. The registry is a real one
// and sends its own notifications.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { DockerApi } from "../../packages/server/src/docker/api.ts";
import { pushImage, registryMissing, startRegistry, type TestRegistry } from "../../packages/server/src/docker/testing/registry.ts";
import type { Files, TestBerth } from "../harness.ts";
import { base, DockerPlace, missing as noDocker, until } from "./place.ts";

const missing = noDocker ?? registryMissing();

describe.skipIf(missing !== undefined)(`a registry with a webhook${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: DockerPlace;
  let registry: TestRegistry;
  let api: DockerApi;
  let berth: TestBerth;
  let secret = "";

  beforeAll(async () => {
    // Where the registry calls stays the same when the server is started again.
    place = await DockerPlace.open({}, ({ ports }) => ({ BERTH_PORT: String(ports[0]) }));
    ({ api, berth } = place);
    registry = await startRegistry({
      notify: async (host) => {
        const said = await berth.cli(["webhooks", "add", "ci", "--registry", host, "--json"]);
        const made = JSON.parse(said.said) as { secret: string; path: string };
        ({ secret } = made);
        return { url: `${berth.url}${made.path}`, authorization: `Bearer ${secret}` };
      },
    });
    const { host, username, password } = registry.login;
    await berth.client.setRegistry({ params: { registry: host }, body: { username, password } });
  }, 900_000);
  afterEach(() => {
    if (registry !== undefined) registry.fault = undefined;
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  /** Pushes an image whose program answers with that word; its digest. */
  const push = async (name: string, word: string, tag = "1"): Promise<string> => {
    const { Id } = await api.json<{ Id: string }>("POST", "/containers/create", { body: { Image: base, Cmd: ["true"] } });
    const program = `require("http").createServer((_, answer) => answer.end("${word}")).listen(8080); process.on("SIGTERM", () => process.exit(0));`;
    const repo = `${registry.host}/${name}`;
    await api.json("POST", "/commit", { query: { container: Id, repo, tag }, body: { Cmd: ["node", "-e", program] } });
    await api.json("DELETE", `/containers/${Id}`);
    await pushImage(api, registry, name, tag);
    const head = await registry.ask("HEAD", `/v2/${name}/manifests/${tag}`, {
      accept: "application/vnd.docker.distribution.manifest.v2+json",
    });
    return head.headers.get("docker-content-digest") ?? "";
  };
  const compose = (name: string, follow: boolean): Files => ({
    "compose.yaml": `services: {web: {image: '${registry.host}/${name}:1', ports: ['8080'], x-berth: {follow: ${String(follow)}}}}\n`,
  });
  const rollouts = async (stack: string) => {
    const { items } = await berth.client.listRollouts({ params: { stack, component: "web" } });
    return items.toSorted((a, b) => a.number - b.number);
  };
  const rollout = (stack: string, number: number) =>
    until(
      async () => (await rollouts(stack)).find((one) => one.number === number && one.endedAt !== undefined),
      `rollout ${String(number)} of ${stack}`,
      180_000,
      () => berth.log(),
    );
  const release = (stack: string, number: number) => berth.client.showRelease({ params: { stack, component: "web", release: number } });
  const notified = async (): Promise<number> =>
    (await berth.client.listAudit({ query: { action: "webhooks.notify", limit: 500 } })).items.filter(
      ({ action }) => action === "webhooks.notify",
    ).length;
  const notify = (body: unknown, headers: Record<string, string> = { authorization: `Bearer ${secret}` }) =>
    fetch(`${berth.url}/api/v1/webhooks/registry/ci`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
  /** The look that was asked for after that instant has ended. */
  const lookedSince = (instant: string) =>
    until(
      async () =>
        ((await berth.client.showComponent({ params: { stack: "shop", component: "web" } })).looked?.at ?? "") >= instant
          ? true
          : undefined,
      "the look",
    );
  const told = (name: string) => ({ events: [{ action: "push", target: { repository: name, tag: "1" } }] });

  test("has a pushed tag rolled out by itself, and its release names the digest", async () => {
    const first = await push("shop/web", "one");
    await berth.deployed("shop", compose("shop/web", true));
    expect((await berth.get("web.shop.localhost")).body).toBe("one");
    const second = await push("shop/web", "two");
    expect(second).not.toBe(first);
    expect(await rollout("shop", 2)).toMatchObject({
      phase: "succeeded",
      reason: `${registry.host}/shop/web:1 moved`,
      createdBy: "webhook ci",
    });
    expect(await release("shop", 2)).toMatchObject({ artifact: second, createdBy: "webhook ci" });
    expect((await berth.get("web.shop.localhost")).body).toBe("two");
    const { items } = await berth.client.listEvents({ query: { code: "image_moved" } });
    expect(items).toMatchObject([{ params: { from: first, to: second, by: "webhook ci", component: "web" } }]);
    expect(JSON.stringify(await berth.client.listAudit({ query: { limit: 500 } }))).not.toContain(secret);
  });

  test("has nothing done when the same image is pushed again, however often it is said", async () => {
    const before = await notified();
    const body = told("shop/web");
    const answers = await Promise.all(Array.from({ length: 10 }, () => notify(body)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 202));
    expect(await notified()).toBe(before + 10);
    const now = new Date().toISOString();
    await notify(body);
    await lookedSince(now);
    expect(await rollouts("shop")).toHaveLength(2);
  });

  test("has nothing done to what does not follow, nor for whom has no secret", async () => {
    await push("shop/still", "one");
    await berth.deployed("still", compose("shop/still", false));
    await push("shop/still", "two");
    expect(await (await notify(told("shop/still"))).json()).toEqual({ components: 0 });
    for (const headers of [{}, { authorization: "Bearer x" }, { "x-hub-signature-256": "sha256=00" }]) {
      const refused = await notify(told("shop/web"), headers);
      expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([401, "webhook_refused"]);
    }
    const before = new Date().toISOString();
    // What is forged with the secret says only where to look: the registry knows better.
    expect(
      (await notify({ events: [{ action: "push", target: { repository: "shop/web", tag: "1", digest: `sha256:${"0".repeat(64)}` } }] }))
        .status,
    ).toBe(202);
    await lookedSince(before);
    expect([await rollouts("shop"), await rollouts("still")].map((all) => all.length)).toEqual([2, 1]);
    expect((await berth.get("web.still.localhost")).body).toBe("one");
  });

  test("is asked again while it does not answer, and the reason is to be seen", async () => {
    registry.fault = (method, path) => (method === "HEAD" && path.endsWith("/shop/web/manifests/1") ? { status: 503 } : undefined);
    const third = await push("shop/web", "three");
    const seen = await until(
      async () => (await berth.client.showComponent({ params: { stack: "shop", component: "web" } })).looked?.cause,
      "the cause",
    );
    expect(seen).toMatchObject({ code: "registry_unanswered", params: { registry: registry.host } });
    expect((await berth.cli(["components", "show", "web", "-s", "shop"])).said).toContain("did not say what");
    expect(await rollouts("shop")).toHaveLength(2);
    registry.fault = undefined;
    expect(await rollout("shop", 3)).toMatchObject({ phase: "succeeded" });
    expect(await release("shop", 3)).toMatchObject({ artifact: third });
    expect((await berth.client.showComponent({ params: { stack: "shop", component: "web" } })).looked).not.toHaveProperty("cause");
  });

  test("has it rolled out also when the server was killed after it had answered", async () => {
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    registry.fault = (method, path) => {
      if (method !== "HEAD" || !path.endsWith("/shop/web/manifests/1")) return undefined;
      asked.resolve();
      return { until: held.promise };
    };
    const fourth = await push("shop/web", "four");
    await asked.promise;
    process.kill(berth.serverPid(), "SIGKILL");
    registry.fault = undefined;
    held.resolve();
    await berth.startServer();
    expect(await rollout("shop", 4)).toMatchObject({ phase: "succeeded", createdBy: "webhook ci" });
    expect(await release("shop", 4)).toMatchObject({ artifact: fourth });
    expect((await berth.get("web.shop.localhost")).body).toBe("four");
    expect(await rollouts("shop")).toHaveLength(4);
  });

  test("has a rollback stay until the tag moves again", async () => {
    const { rollouts: made } = await berth.client.rollbackComponent({ params: { stack: "shop", component: "web" }, body: { release: 1 } });
    expect(await berth.ended("shop", "web", made[0]?.number ?? 0)).toMatchObject({ phase: "succeeded" });
    const before = new Date().toISOString();
    await notify(told("shop/web"));
    await lookedSince(before);
    expect((await berth.get("web.shop.localhost")).body).toBe("one");
    await push("shop/web", "five");
    expect(await rollout("shop", 6)).toMatchObject({ phase: "succeeded" });
    expect((await berth.get("web.shop.localhost")).body).toBe("five");
  });
});
