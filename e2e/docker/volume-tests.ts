// Volumes of containers: taken out as archives while they are used, put into other stacks, and nothing half-made when something dies in the middle.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Files, TestBerth } from "../harness.ts";
import { base, DockerPlace, until, type engines } from "./place.ts";

/** Keeps what it is told in a file of its volume, which belongs to a user of its own. */
const program = `const http = require("http"), fs = require("fs");
http.createServer((request, answer) => {
  if (request.url.startsWith("/set/")) fs.writeFileSync("/data/kept", request.url.slice(5));
  answer.end(fs.existsSync("/data/kept") ? fs.readFileSync("/data/kept") + " of " + fs.statSync("/data/kept").uid : "nothing");
}).listen(8080);
process.on("SIGTERM", () => process.exit(0));`;
const app: Files = {
  "compose.yaml": `services:
  web:
    image: ${base}
    command: ["node", "-e", ${JSON.stringify(program)}]
    ports: ["8080"]
    volumes: ["data:/data"]
    x-berth: {kind: web, strategy: recreate}
volumes: {data: {}}
`,
};

export function volumeTests(kind: (typeof engines)[number][0], missing: string | undefined): void {
  const test = missing === undefined ? it : it.skip;
  let place: DockerPlace;
  let berth: TestBerth;
  let archive = "";
  beforeAll(async () => {
    if (missing !== undefined) return;
    place = await DockerPlace.open({}, {}, { kind });
    ({ berth } = place);
    archive = join(berth.home, "data.tar");
  }, 900_000);
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
  });

  const volumes = async (stack: string) => (await berth.client.listVolumes({ params: { stack } })).items;
  const listed = () => execFileSync("tar", ["-tvf", archive, "--numeric-owner"], { encoding: "utf8" });

  test("are taken out while they are used, with a warning, and put into another stack", async () => {
    await berth.deployed("shop", app);
    expect((await berth.get("web.shop.localhost", "/set/first")).body).toBe("first of 0");
    const said = await berth.cli(["volumes", "snapshot", "data", "-s", "shop", "--output", archive]);
    expect(said, said.said).toMatchObject({ code: 0 });
    expect(said.said).toMatch(/web may be using it/);
    expect(listed()).toMatch(/0\/0 .* \.\/kept/);
    expect(existsSync(`${archive}.part`)).toBe(false);
    await berth.client.createStack({ body: { name: "other" } });
    const restored = await berth.cli(["volumes", "restore", "data", "-s", "other", "--input", archive]);
    expect(restored, restored.said).toMatchObject({ code: 0 });
    await berth.deployed("other", app);
    expect((await berth.get("web.other.localhost")).body).toBe("first of 0");
    // Each goes its own way.
    expect((await berth.get("web.shop.localhost", "/set/second")).body).toBe("second of 0");
    expect((await berth.get("web.other.localhost")).body).toBe("first of 0");
  });

  test("are copied in one step, owners too, and never over anything", async () => {
    execFileSync("chown", ["999:998", await kept("shop")]);
    await berth.client.createStack({ body: { name: "copy" } });
    const copied = await berth.cli(["volumes", "copy", "shop/data", "copy/data"]);
    expect(copied, copied.said).toMatchObject({ code: 0 });
    await berth.deployed("copy", app);
    expect((await berth.get("web.copy.localhost")).body).toBe("second of 999");
    const used = await berth.cli(["volumes", "copy", "shop/data", "other/data"]);
    expect(used.code).toBe(1);
    expect(used.said).toMatch(/is used by web/);
    await berth.client.stopComponent({ params: { stack: "other", component: "web" } });
    await until(
      async () => ((await place.api.json<object[]>("GET", "/containers/json", { query: { all: true } })).length === 2 ? true : undefined),
      "it has stopped",
    );
    const full = await berth.cli(["volumes", "copy", "shop/data", "other/data"]);
    expect(full.said).toMatch(/something in that volume already/);
    await berth.client.startComponent({ params: { stack: "other", component: "web" } });
    await until(async () => ((await berth.get("web.other.localhost")).body === "first of 0" ? true : undefined), "it has what it had");
    const { items } = await berth.client.listAudit({ query: { limit: 200 } });
    expect(new Set(items.map(({ action }) => action).filter((action) => action.startsWith("volumes.")))).toEqual(
      new Set(["volumes.snapshot", "volumes.restore"]),
    );
  });

  test("have nothing of an archive whose server was killed in its middle, and take it afterwards", async () => {
    await berth.client.createStack({ body: { name: "killed" } });
    const bytes = readFileSync(archive);
    const begun = Promise.withResolvers<void>();
    const sending = fetch(`${berth.url}/api/v1/stacks/killed/volumes/data/archive`, {
      method: "PUT",
      headers: { "content-type": "application/x-tar", authorization: `Bearer ${berth.token}` },
      duplex: "half",
      body: new ReadableStream({
        async start(controller) {
          controller.enqueue(new Uint8Array(bytes.subarray(0, 1_536)));
          await begun.promise;
        },
      }),
    } as RequestInit).catch((error: unknown) => error);
    await until(async () => ((await folders("killed")).includes("berth-new") ? true : undefined), "it has begun");
    process.kill(berth.serverPid(), "SIGKILL");
    expect(await sending).toBeInstanceOf(Error);
    begun.resolve();
    await berth.startServer();
    // The edge lives on, and cleans up by itself.
    await until(async () => ((await folders("killed")).length === 0 ? true : undefined), "nothing is left");
    expect(await volumes("killed")).toMatchObject([{ name: "data", usedBy: [] }]);
    const again = await berth.cli(["volumes", "restore", "data", "-s", "killed", "--input", archive]);
    expect(again, again.said).toMatchObject({ code: 0 });
    await berth.deployed("killed", app);
    expect((await berth.get("web.killed.localhost")).body).toBe("first of 0");
  });

  test("that are no archives are refused, and no volume is left of it", async () => {
    await berth.client.createStack({ body: { name: "wrong" } });
    const file = join(berth.home, "no.tar");
    writeFileSync(file, "this is no archive");
    const refused = await berth.cli(["volumes", "restore", "data", "-s", "wrong", "--input", file]);
    expect(refused.code).toBe(1);
    expect(refused.said).toMatch(/The archive is refused/);
    await until(async () => ((await volumes("wrong")).length === 0 ? true : undefined), "it is gone");
    expect(await folders("wrong")).toEqual([]);
  });

  /** What is in the daemon's folder of the stack's volume: the content's folder, and what is put together beside it. */
  async function folders(stack: string): Promise<string[]> {
    const found = await volumeOf(stack);
    try {
      return found === undefined ? [] : readdirSync(join(found, ".."));
    } catch (error) {
      // It was removed since it was listed.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }
  async function kept(stack: string): Promise<string> {
    return join((await volumeOf(stack)) ?? "", "kept");
  }
  async function volumeOf(stack: string): Promise<string | undefined> {
    const { Volumes } = await place.api.json<{ Volumes: { Mountpoint: string; Labels: Record<string, string> | null }[] | null }>(
      "GET",
      "/volumes",
    );
    return Volumes?.find(({ Labels }) => Labels?.["berth.stack"] === stack)?.Mountpoint;
  }
}
