// A host whose disk is full, for real: the daemon's data lies on a small file system of its own. What needs room says so, with how much there is; what serves
// goes on, and what waits goes on when room is made.
import { randomBytes } from "node:crypto";
import { appendFileSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { folderTar, streamOf } from "../../packages/server/src/builders/testing/tarball.ts";
import { pushImage, registryMissing, startRegistry, type TestRegistry } from "../../packages/server/src/docker/testing/registry.ts";
import { webApp, type Files, type TestBerth } from "../harness.ts";
import { base, DockerPlace, foundWhole, missing as noDocker, until } from "./place.ts";

const missing = noDocker ?? registryMissing();
const MB = 1_000_000;

describe.skipIf(missing !== undefined)(`a full disk${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: DockerPlace;
  let registry: TestRegistry;
  let berth: TestBerth;

  beforeAll(async () => {
    registry = await startRegistry();
    // The base has 180 MB.
    place = await DockerPlace.open({}, {}, { dataBytes: 600 * MB });
    ({ berth } = place);
    const { host, username, password } = registry.login;
    await berth.client.setRegistry({ params: { registry: host }, body: { username, password } });
    const image = await importImage(place.api, streamOf(await folderTar({ "random.bin": randomBytes(60 * MB) })), { reference: "large:1" });
    await place.api.json("POST", `/images/${image}/tag`, { query: { repo: `${host}/others/large`, tag: "1" } });
    await pushImage(place.api, registry, "others/large", "1");
    await place.api.json("DELETE", "/images/large:1");
    await berth.deployed("serves", webApp("still here"));
  }, 900_000);
  afterEach(() => makeRoom());
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const ballast = (): string => join(place.daemon.data, "ballast");
  const free = (): number => {
    const { bavail, bsize } = statfsSync(place.daemon.data);
    return bavail * bsize;
  };
  /** What others leave there is on its way back for a while, and is filled up as well. */
  const fill = (left: number): Promise<true> =>
    until(
      () => {
        appendFileSync(ballast(), Buffer.alloc(Math.max(0, free() - left)));
        return Promise.resolve(free() < left + MB ? true : undefined);
      },
      "the disk to be full",
      undefined,
      () => `${String(free())} bytes are free`,
    );
  const makeRoom = (): void => rmSync(ballast(), { force: true });
  const serves = async (): Promise<void> => expect((await berth.get("web.serves.localhost")).body).toMatch(/^still here /);

  const large: Files = { "compose.yaml": "" };
  const pulled = (host: string): Files => ({
    ...large,
    "compose.yaml": `services: {job: {image: '${host}/others/large:1', command: /none, x-berth: {kind: worker, strategy: {type: rolling, progressDeadline: 5s}}}}\n`,
  });
  const room = /^Now \d+ MB of \d+ MB are free in \//;

  test("ends a pull with how much is free, and the rollout can be tried again when there is room", async () => {
    await fill(20 * MB);
    const made = await berth.up("pulls", pulled(registry.host));
    const ended = await berth.ended("pulls", "job", made.rollouts[0]?.number ?? 0);
    expect(ended).toMatchObject({
      phase: "failed",
      cause: {
        code: "host_disk_full",
        params: { what: expect.stringContaining("/others/large@sha256:") as string, room: expect.stringMatching(room) as string },
        evidence: [{ text: expect.stringContaining("no space left on device") as string }],
      },
    });
    await serves();
    // What the person is shown.
    const { said } = await berth.cli(["rollouts", "show", String(ended.number), "-s", "pulls", "-c", "job"]);
    expect(said).toMatch(/The disk of the containers' host is full: there was no room for the image .*Now \d+ MB of \d+ MB are free/s);
    expect(said).toContain("berth rollouts retry");
  });

  test("that is made room on while a pull still waits lets it go on by itself", async () => {
    await fill(20 * MB);
    const compose = pulled(registry.host)["compose.yaml"]?.replace("5s", "90s").replace("/none", "[/none]") ?? "";
    const made = await berth.up("waits", { "compose.yaml": compose });
    const number = made.rollouts[0]?.number ?? 0;
    const blobs = (): number => registry.requests.filter((one) => one.startsWith("GET") && one.includes("others/large/blobs")).length;
    const before = blobs();
    await until(async () => ((await Promise.resolve(blobs() > before + 2)) ? true : undefined), "it was tried more than once");
    makeRoom();
    // The image has nothing that could be started: what counts is that it came, and is no longer waited for.
    const ended = await berth.ended("waits", "job", number);
    expect(ended.cause?.code).not.toBe("host_disk_full");
    const images = await place.api.json<{ RepoDigests?: string[] | null }[]>("GET", "/images/json");
    expect(images.flatMap((one) => one.RepoDigests ?? []).some((one) => one.includes("/others/large@"))).toBe(true);
    await serves();
  });

  test("ends a build by its step's own words or the daemon's, and the build succeeds when it is run again with room", async () => {
    const files = (line: string): Files => ({
      Dockerfile: `FROM ${base}\nCOPY random.bin /\n${line}CMD ["sleep", "1000"]\n`,
      "random.bin": randomBytes(15 * MB).toString("base64"),
      "compose.yaml": "services: {job: {build: ., x-berth: {kind: worker}, stop_grace_period: 1s}}\n",
    });
    await fill(100 * MB);
    const step = await berth.up("builds", files("RUN head -c 300000000 /dev/zero > /filler\n"));
    const first = await berth.ended("builds", "job", step.rollouts[0]?.number ?? 0);
    expect(first).toMatchObject({ phase: "failed", cause: { code: "disk_full" } });
    expect(first.cause?.evidence.map(({ text }) => text)).toContainEqual(expect.stringMatching(room));
    expect(JSON.stringify(first.cause?.evidence)).toMatch(/No space left on device/);
    makeRoom();
    await fill(8 * MB);
    const copy = await berth.up("builds", files(""));
    const number = copy.rollouts[0]?.number ?? 0;
    const second = await berth.ended("builds", "job", number);
    expect(second).toMatchObject({
      phase: "failed",
      cause: { code: "host_disk_full", params: { room: expect.stringMatching(room) as string } },
    });
    await serves();
    makeRoom();
    // What was built before is built again, too.
    const again = await berth.client.retryRollout({ params: { stack: "builds", component: "job", rollout: number } });
    expect(await berth.ended("builds", "job", again.number)).toMatchObject({ phase: "succeeded" });
  });

  test("is said of a container that fills it, whose neighbours serve on and which runs when it writes no more", async () => {
    const app = (program: string, patience = "progressDeadline: 20s"): Files => ({
      "package.json": JSON.stringify({ name: "job", scripts: { start: "node job.js" } }),
      "job.js": program,
      "compose.yaml": `services: {job: {build: ., x-berth: {kind: worker, strategy: {type: rolling, ${patience}}}}}\n`,
    });
    await fill(60 * MB);
    const made = await berth.up(
      "writes",
      app(
        "const fs = require('fs'); const file = fs.openSync('/tmp/filler', 'w'); for (;;) fs.writeSync(file, Buffer.alloc(4_000_000));",
        // It may take a while to fill the disk, and is not ready until then.
        "minReady: 30s, progressDeadline: 40s",
      ),
    );
    const ended = await berth.ended("writes", "job", made.rollouts[0]?.number ?? 0);
    // Its last words need room as well, since the daemon keeps them on the same disk: they may be there or not, and which it was is said.
    expect(ended).toMatchObject({
      phase: "failed",
      cause: {
        code: "host_disk_full",
        params: { what: expect.stringMatching(/^its container$|last words/) as string, room: expect.stringMatching(room) as string },
      },
    });
    // One that could not even be started again has the daemon's words and no exit.
    const told = ended.cause?.params["what"] === "its container" ? "event" : "exit";
    expect(ended.cause?.evidence).toContainEqual(expect.objectContaining({ kind: told }));
    await serves();
    makeRoom();
    await berth.deployed("writes", app("setInterval(() => {}, 1000); process.on('SIGTERM', () => process.exit(0));"));
    await serves();
    await foundWhole(berth);
  });
});
