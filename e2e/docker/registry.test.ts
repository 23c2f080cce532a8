// A registry beside a host with Docker: what is built is pushed, what runs is pulled by its digest, a rollback needs no cache of the host's, and what nobody
// needs is deleted. The registry is a real one; it fails by way of a proxy.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { silentLog } from "../../packages/server/src/db/log.ts";
import { attachEmbedded } from "../../packages/server/src/db/embedded.ts";
import type { DockerApi } from "../../packages/server/src/docker/api.ts";
import { pushImage, registryMissing, startRegistry, type TestRegistry } from "../../packages/server/src/docker/testing/registry.ts";
import { commandProgram, webApp, type Files, type TestBerth } from "../harness.ts";
import { base, DockerPlace, missing as noDocker, until } from "./place.ts";

const missing = noDocker ?? registryMissing();

describe.skipIf(missing !== undefined)(`a registry${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: DockerPlace;
  let registry: TestRegistry;
  let api: DockerApi;
  let berth: TestBerth;

  beforeAll(async () => {
    registry = await startRegistry();
    place = await DockerPlace.open({ registry: `${registry.host}/berth` });
    ({ api, berth } = place);
    const { host, username, password } = registry.login;
    await berth.client.setRegistry({ params: { registry: host }, body: { username, password } });
    // What is large of all that is built here: it is compressed once, and no rollout waits for it.
    await push("others/base");
  }, 900_000);
  afterEach(() => {
    if (registry !== undefined) registry.fault = undefined;
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const push = async (name: string): Promise<void> => {
    await api.json("POST", `/images/${base}/tag`, { query: { repo: `${registry.host}/${name}`, tag: "1" } });
    await pushImage(api, registry, name, "1");
  };

  interface Image {
    readonly Id: string;
    readonly RepoTags?: readonly string[] | null;
    readonly RepoDigests?: readonly string[] | null;
  }
  const images = (): Promise<Image[]> => api.json<Image[]>("GET", "/images/json");
  const artifactOf = async (stack: string, release: number): Promise<string> =>
    (await berth.client.showRelease({ params: { stack, component: "web", release } })).artifact;
  /** `docker image prune -a`, but for the base that only this host has. */
  const prune = async (): Promise<void> => {
    for (const { Id, RepoTags } of await images()) {
      if (RepoTags?.includes(base) === true) continue;
      // What a container is made of stays, as it does for the command.
      await api.json("DELETE", `/images/${Id}`, { query: { force: false } }).catch(() => undefined);
      for (const tag of RepoTags ?? []) await api.json("DELETE", `/images/${tag}`).catch(() => undefined);
    }
  };
  /** Nothing of that image is on the host any more: also not under another of its names. */
  const pruned = async (digest: string): Promise<void> => {
    const id = (await images()).find((one) => one.RepoDigests?.some((name) => name.endsWith(digest)) === true)?.Id;
    if (id === undefined) throw new Error(`the host does not have ${digest}`);
    await until(async () => {
      await prune();
      return (await images()).some(({ Id }) => Id === id) ? undefined : true;
    }, `the host has ${digest} no more`);
  };
  const inRegistry = async (stack: string, digest: string): Promise<boolean> =>
    (
      await registry.ask("HEAD", `/v2/berth/default/${stack}/source/manifests/${digest}`, {
        accept: "application/vnd.docker.distribution.manifest.v2+json",
      })
    ).status === 200;
  const rollback = async (stack: string, to: number) => {
    const { rollouts } = await berth.client.rollbackComponent({ params: { stack, component: "web" }, body: { release: to } });
    return berth.ended(stack, "web", rollouts[0]?.number ?? 0);
  };

  test("has what was built under its digest, and a rollback gets it back after the host's images were pruned", async () => {
    await berth.deployed("shop", webApp("one"));
    const first = await artifactOf("shop", 1);
    expect(await inRegistry("shop", first)).toBe(true);
    await berth.deployed("shop", webApp("two"));
    const gone = `${registry.host}/berth/default/shop/source@${first}`;
    expect((await images()).flatMap((one) => one.RepoDigests ?? [])).toContain(gone);
    await until(
      async () => ((await api.json<object[]>("GET", "/containers/json", { query: { all: true } })).length === 1 ? true : undefined),
      "the old container is gone",
    );
    await pruned(first);
    expect((await images()).flatMap((one) => one.RepoDigests ?? [])).not.toContain(gone);
    expect(await rollback("shop", 1)).toMatchObject({ phase: "succeeded" });
    expect((await berth.get("web.shop.localhost")).body).toMatch(/^one web-/);
    // Stopped, pruned, and started again: nothing of a component's image has to be on its host.
    await berth.client.stopComponent({ params: { stack: "shop", component: "web" } });
    await until(
      async () => ((await api.json<object[]>("GET", "/containers/json", { query: { all: true } })).length === 0 ? true : undefined),
      "it has stopped",
    );
    await pruned(first);
    await berth.client.startComponent({ params: { stack: "shop", component: "web" } });
    await until(async () => ((await berth.get("web.shop.localhost")).status === 200 ? true : undefined), "it answers again");
  });

  test("that has lost a digest fails the rollback with plain words, and the source can be deployed again", async () => {
    await berth.deployed("lossy", webApp("one"));
    await berth.deployed("lossy", webApp("two"));
    const first = await artifactOf("lossy", 1);
    expect((await registry.ask("DELETE", `/v2/berth/default/lossy/source/manifests/${first}`)).status).toBe(202);
    await until(async () => ((await berth.get("web.lossy.localhost")).body.startsWith("two") ? true : undefined), "two serves");
    await pruned(first);
    const ended = await rollback("lossy", 1);
    expect(ended).toMatchObject({
      phase: "failed",
      cause: { code: "image_lost", params: { image: `${registry.host}/berth/default/lossy/source@${first}` } },
    });
    expect((await berth.get("web.lossy.localhost")).body).toMatch(/^two web-/);
    // Not the build whose image is lost: it is built anew.
    await berth.deployed("lossy", webApp("one"));
    expect((await berth.get("web.lossy.localhost")).body).toMatch(/^one web-/);
  });

  test("gives private images from outside to who may have them, and what Berth pushed for a stack to no other", async () => {
    const compose = (image: string): Files => ({
      "compose.yaml": `services: {job: {image: '${image}', command: sleep 1000, x-berth: {kind: worker}}}\n`,
    });
    const { host, username, password } = registry.login;
    await berth.client.deleteRegistry({ params: { registry: host } });
    const up = async (stack: string, image: string) => {
      const made = await berth.up(stack, compose(image));
      return berth.ended(stack, "job", made.rollouts[0]?.number ?? 0);
    };
    expect(await up("outside", `${host}/others/base:1`)).toMatchObject({ phase: "failed", cause: { code: "image_denied" } });
    const added = await berth.cli(["registries", "add", host, "--username", username, "--password-stdin"], undefined, `${password}\n`);
    expect(added).toMatchObject({ code: 0 });
    expect((await berth.cli(["registries", "list"])).said).toContain(host);
    const ended = await up("outside", `${host}/others/base:1`);
    expect(ended).toMatchObject({ phase: "succeeded" });
    expect(await up("thief", `${host}/berth/default/shop/source:build-1`)).toMatchObject({
      phase: "failed",
      cause: { code: "image_of_others" },
    });
    // As the base of a build, too.
    const own: Files = {
      Dockerfile: `FROM ${host}/others/base:1\nCOPY server.js /\nCMD ["node", "/server.js"]\n`,
      "server.js":
        "require('http').createServer((_, answer) => answer.end('upon it')).listen(process.env.PORT); process.on('SIGTERM', () => process.exit(0));",
      "compose.yaml": "services: {web: {build: ., ports: ['8080']}}\n",
    };
    await berth.deployed("upon", own);
    expect((await berth.get("web.upon.localhost")).body).toBe("upon it");
  });

  test("is slow: who watches sees how far the image is and that nothing comes, in few events, and then it runs", async () => {
    const held = Promise.withResolvers<void>();
    let pulling = false;
    await berth.deployed("slow", webApp("one"));
    await berth.deployed("slow", webApp("two"));
    const first = await artifactOf("slow", 1);
    await until(async () => ((await berth.get("web.slow.localhost")).body.startsWith("two") ? true : undefined), "two serves");
    await pruned(first);
    registry.fault = (method, path) => {
      if (method !== "GET" || !path.includes("/slow/source/blobs/")) return undefined;
      pulling = true;
      return { until: held.promise };
    };
    const rollingBack = ["rollback", "web", "--to", "1", "--stack", "slow", "--server", berth.url, "--token", berth.token];
    const watching = spawn(process.execPath, [commandProgram, ...rollingBack], { env: berth.env });
    const ended = once(watching, "close");
    let said = "";
    const hears = (piece: Buffer): void => void (said += piece.toString());
    watching.stdout.on("data", hears);
    watching.stderr.on("data", hears);
    const hasSaid = (words: RegExp): Promise<true> =>
      until(
        () => Promise.resolve(words.test(said) ? true : undefined),
        `the command to say ${String(words)}`,
        undefined,
        () => said,
      );
    const newest = async () => (await berth.client.listRollouts({ params: { stack: "slow", component: "web" }, query: {} })).items[0];
    await until(async () => ((await newest())?.step?.code === "pulling" ? true : undefined), "the row says that it is pulled");
    await until(async () => (pulling ? true : undefined), "the registry is asked for it");
    // What serves meanwhile is looked after.
    expect((await berth.get("web.slow.localhost")).body).toMatch(/^two /);
    const stalled = await until(async () => {
      const step = (await newest())?.step;
      return step?.code === "pull_stalled" ? step : undefined;
    }, "it stands still");
    expect(stalled.params["quiet"]).toBeGreaterThanOrEqual(20);
    await hasSaid(/nothing has come for \d+ s/);
    held.resolve();
    expect((await ended)[0], said).toBe(0);
    expect(said).toMatch(/pulling \S+\/slow\/source: /);
    expect(await newest()).toMatchObject({ phase: "succeeded" });
    expect((await newest())?.step).toBeUndefined();
    const events = await berth.client.listEvents({ query: { stack: "slow", limit: 200 } });
    const codes = events.items.map((one) => one.code).filter((one) => one.startsWith("image_pull"));
    expect(codes.toSorted()).toEqual(["image_pull_stalled", "image_pulling"]);
  });

  test("goes on with a push when the server was killed in its middle", async () => {
    const held = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    registry.fault = (method, path) => {
      if (method !== "PUT" || !path.includes("/killed/source/manifests/")) return undefined;
      begun.resolve();
      return { until: held.promise };
    };
    const made = await berth.up("killed", webApp("late"));
    await begun.promise;
    process.kill(berth.serverPid(), "SIGKILL");
    registry.fault = undefined;
    held.resolve();
    await berth.startServer();
    expect(await berth.ended("killed", "web", made.rollouts[0]?.number ?? 0)).toMatchObject({ phase: "succeeded" });
    expect((await berth.get("web.killed.localhost")).body).toMatch(/^late web-/);
    expect(await inRegistry("killed", await artifactOf("killed", 1))).toBe(true);
    const { items } = await berth.client.listBuilds({ params: { stack: "killed" } });
    expect(items).toMatchObject([{ phase: "succeeded" }]);
  });

  test("goes on with a pull when the server was killed in its middle", async () => {
    await berth.deployed("killed", webApp("later"));
    const first = await artifactOf("killed", 1);
    await pruned(first);
    const held = Promise.withResolvers<void>();
    let pulling = false;
    registry.fault = (method, path) => {
      if (method !== "GET" || !path.includes("/killed/source/blobs/")) return undefined;
      pulling = true;
      return { until: held.promise };
    };
    const { rollouts } = await berth.client.rollbackComponent({ params: { stack: "killed", component: "web" }, body: { release: 1 } });
    const number = rollouts[0]?.number ?? 0;
    await until(
      async () => {
        const { endedAt, cause } = await berth.client.showRollout({ params: { stack: "killed", component: "web", rollout: number } });
        if (!pulling && endedAt !== undefined) throw new Error(`it ended without a pull: ${JSON.stringify(cause)}`);
        return pulling ? true : undefined;
      },
      "the pull",
      undefined,
      () => `${registry.requests.slice(-10).join("\n")}\n${berth.log()}`,
    );
    process.kill(berth.serverPid(), "SIGKILL");
    await berth.startServer();
    held.resolve();
    expect(await berth.ended("killed", "web", number)).toMatchObject({ phase: "succeeded" });
    expect((await berth.get("web.killed.localhost")).body).toMatch(/^late web-/);
  });

  /** What refers to an image, by the tag that clients look for. */
  const besideOf = async (stack: string, digest: string): Promise<string[]> => {
    const answer = await registry.ask("GET", `/v2/berth/default/${stack}/source/manifests/${digest.replace(":", "-")}`, {
      accept: "application/vnd.oci.image.index.v1+json",
    });
    return answer.status === 200 ? ((await answer.json()) as { manifests: { digest: string }[] }).manifests.map((one) => one.digest) : [];
  };
  const isManifest = async (stack: string, digest: string): Promise<boolean> =>
    (
      await registry.ask("HEAD", `/v2/berth/default/${stack}/source/manifests/${digest}`, {
        accept: "application/vnd.oci.image.manifest.v1+json",
      })
    ).status === 200;

  test("has beside an image what is in it and where it comes from, and the command shows the same", async () => {
    const artifact = await artifactOf("shop", 1);
    // It comes after the build was told as succeeded.
    await until(async () => (await besideOf("shop", artifact))[0], "what is beside the image");
    const { code, said } = await berth.cli(["builds", "provenance", "1", "--stack", "shop"]);
    expect(code, said).toBe(0);
    expect(JSON.parse(said)).toMatchObject({
      subject: [{ name: `${registry.host}/berth/default/shop/source`, digest: { sha256: artifact.slice(7) } }],
    });
    const bill = await berth.client.readBuildSbom({ params: { stack: "shop", build: 1 } });
    const names = (bill["packages"] as { name: string; sourceInfo?: string }[]).filter((one) => one.sourceInfo === "/var/lib/dpkg/status");
    expect(names.map(({ name }) => name)).toEqual(expect.arrayContaining(["libc6", "nodejs"]));
  });

  test("is rid of what nobody needs any more, and of nothing else", async () => {
    await berth.deployed("brief", webApp("brief"));
    const digest = await artifactOf("brief", 1);
    const kept = await artifactOf("shop", 1);
    // It comes after the build was told as succeeded.
    const beside = await until(async () => (await besideOf("brief", digest))[0], "what is beside the image");
    expect(await isManifest("brief", beside)).toBe(true);
    await berth.client.deleteStack({ params: { stack: "brief" } });
    const client = new pg.Client(
      await attachEmbedded({ home: berth.home, runDir: join(berth.home, "run"), log: silentLog, signal: AbortSignal.timeout(120_000) }),
    );
    await client.connect();
    try {
      await until(
        async () =>
          (
            await client.query(
              "select 1 from releases r join components c on c.id = r.component_id join stacks s on s.id = c.stack_id where s.name = 'brief'",
            )
          ).rowCount === 0
            ? true
            : undefined,
        "its rows are gone",
      );
      // As if all of it had happened yesterday, in an installation that is older: after a restore, what was there before stays for a month.
      await client.query("update installation set raised_at = raised_at - interval '60 days'");
      await client.query("update artifacts set created_at = created_at - interval '1 day'");
      await client.query("update pushed_images set pushed_at = pushed_at - interval '1 day'");
      await client.query("update builds set ended_at = ended_at - interval '1 day'");
      await until(
        async () => {
          await client.query("update due set due_at = now() where kind = 'retention'");
          // What refers to it goes with it.
          const there = [
            inRegistry("brief", digest),
            isManifest("brief", beside),
            besideOf("brief", digest).then((some) => some.length > 0),
          ];
          return (await Promise.all(there)).includes(true) ? undefined : true;
        },
        "it is deleted",
        undefined,
        () => berth.log(),
        1_000,
      );
      expect(await inRegistry("shop", kept)).toBe(true);
      expect(await besideOf("shop", kept)).not.toEqual([]);
      // What the registry has no more is written down a moment later.
      const rows = await until(async () => {
        const pushed = await client.query<{ digest: string }>("select digest from pushed_images");
        return pushed.rows.some((row) => row.digest === digest) ? undefined : pushed.rows;
      }, "its row is gone");
      expect(rows.map((row) => row.digest)).toContain(kept);
    } finally {
      await client.end();
    }
  });

  test("is asked with a password that stands nowhere", async () => {
    const { password } = registry.login;
    await until(async () => {
      const { checks } = await berth.client.runDoctor();
      return checks.find((check) => check.name === "registry")?.status === "ok" ? true : undefined;
    }, "the doctor to find it well");
    expect(JSON.stringify(await berth.client.listRegistries({ query: {} }))).not.toContain(password);
    expect(JSON.stringify(await berth.client.listEvents({ query: { limit: 200 } }))).not.toContain(password);
    expect(JSON.stringify(await berth.client.listAudit({ query: { limit: 200 } }))).not.toContain(password);
    const all = await api.json<{ Id: string }[]>("GET", "/containers/json", { query: { all: true } });
    for (const { Id } of all) expect(JSON.stringify(await api.json("GET", `/containers/${Id}/json`))).not.toContain(password);
    for (const file of ["server.log", "edge.log"]) expect(readFileSync(join(berth.home, "logs", file), "utf8")).not.toContain(password);
  });
});
