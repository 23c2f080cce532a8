// Yesterday's backup restored while instances run: what it knows is taken over with the same processes, what it does not know is left alone,
// and the database of before cannot act any more. Real server, edge, PostgreSQL and programs.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBerth, isAlive, startLoad, until, webApp } from "./harness.ts";
import { OutsidePostgres, hasPostgres } from "./outside.ts";

const run = promisify(execFile);
let berth: TestBerth;
const folder = mkdtempSync(join(tmpdir(), "be-backups-"));
beforeAll(async () => {
  berth = await TestBerth.start();
}, 120_000);
afterAll(async () => {
  await berth?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

const host = (stack: string): string => `web.${stack}.localhost`;
const at = (stack: string) => ({ stack, component: "web" });
const component = (stack: string) => berth.client.showComponent({ params: at(stack) });
async function pids(stack: string): Promise<number[]> {
  return (await berth.client.listInstances({ params: at(stack) })).items.map((instance) => instance.pid ?? 0).toSorted();
}
/** Healthy, and those that it has are all that it is shown with: none of before is still on its way out. */
const settled = (stack: string, replicas: number) =>
  until(
    async () => {
      const now = await component(stack);
      if (now.state !== "healthy" || now.ready !== replicas) return undefined;
      const shown = await pids(stack);
      return shown.length === replicas && !shown.includes(0) ? now : undefined;
    },
    `${stack} to be healthy with ${replicas}`,
    60_000,
    () => berth.log(),
  );
const epoch = (): number => (JSON.parse(readFileSync(join(berth.home, "installation.json"), "utf8")) as { epoch: number }).epoch;
/** The server's program with words on stderr; answers exit code and all that it said. */
async function server(args: readonly string[], env = berth.env): Promise<{ code: number; said: string }> {
  try {
    const { stdout, stderr } = await run(process.execPath, [berth.program, ...args], { env, timeout: 150_000 });
    return { code: 0, said: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, said: stdout + stderr };
  }
}

describe("a backup of yesterday", () => {
  const backup = join(folder, "yesterday.tar");
  const before: Record<string, number[]> = {};

  test("is written while everything runs, and says what is in it", async () => {
    for (const stack of ["kept", "moved", "turned"]) await berth.deployed(stack, webApp("one"));
    await berth.deployed("turned", webApp("two"));
    const load = startLoad(berth, host("kept"), "/", 2);
    const { code, said } = await server(["backup", backup, "--json"]);
    expect({ code, said }).toMatchObject({ code: 0, said: expect.stringMatching(/"epoch":1/) as string });
    expect((await load.stop()).failed).toEqual([]);
    // A copy of the database as it was then, for later.
    await berth.server("stop");
    await run("cp", ["-a", join(berth.home, "postgres"), join(folder, "postgres")]);
    await berth.startServer();
  });

  test("is refused while the server runs, and says what it would do before it does it", async () => {
    // What happens after the backup: another release, a way back to a known one, another number, another wave, and a stack more.
    await berth.deployed("moved", webApp("two"));
    await berth.deployed("born", webApp("one"));
    const back = await berth.client.rollbackComponent({ params: at("turned"), body: { release: 1 } });
    await berth.ended("turned", "web", back.rollouts[0]?.number ?? 0);
    await berth.client.scaleComponent({ params: at("kept"), body: { replicas: 2 } });
    await settled("kept", 2);
    const restarted = await berth.client.restartComponent({ params: at("kept") });
    if (restarted.rollout !== undefined) await berth.ended("kept", "web", restarted.rollout);
    for (const [stack, replicas] of Object.entries({ kept: 2, moved: 1, turned: 1, born: 1 })) {
      await settled(stack, replicas);
      before[stack] = await pids(stack);
    }

    expect(await server(["restore", backup, "--yes"])).toMatchObject({
      code: 1,
      said: expect.stringMatching(/The server runs.*\nNext: Stop it/) as string,
    });
    await berth.server("stop");
    const { code, said } = await server(["restore", backup]);
    expect(code).toBe(0);
    expect(said).toMatch(
      /whole and undamaged[\s\S]*3 stacks, 3 components, 4 releases[\s\S]*epoch 1, 4 stack\(s\)[\s\S]*becomes 2[\s\S]*Nothing was changed/,
    );
    expect(epoch()).toBe(1);
  });

  test("restores: known releases run on with the same processes, unknown ones are reported and left alone", async () => {
    const load = startLoad(berth, host("kept"), "/", 2);
    expect(await server(["restore", backup, "--yes"])).toMatchObject({
      code: 0,
      said: expect.stringMatching(/the epoch is now 2[\s\S]*before-restore-/) as string,
    });
    expect(epoch()).toBe(2);
    await berth.startServer();
    // The token of then is known again: it was made before the backup.
    await settled("kept", 2);
    await until(
      async () => ((await settled("turned", 1)).release?.number === 1 ? true : undefined),
      "turned to have its first release",
      60_000,
      () => berth.log(),
    );
    const moved = await until(
      async () => {
        const now = await component("moved");
        return now.state === "unknown" ? now : undefined;
      },
      "moved to be left alone",
      60_000,
      () => berth.log(),
    );
    expect(moved).toMatchObject({ ready: 1, cause: { code: "unknown_release", params: { release: 2 } } });
    await until(
      async () => berth.log().includes("are not in the database") || undefined,
      "born to be reported",
      60_000,
      () => berth.log(),
    );
    expect(berth.log()).toContain('"born/web"');

    expect((await load.stop()).failed).toEqual([]);
    // Until the edge was heard, what is shown is from the backup.
    for (const stack of ["kept", "moved", "turned"]) {
      let shown: number[] = [];
      await until(
        async () => {
          shown = await pids(stack);
          return shown.join() === before[stack]?.join() ? true : undefined;
        },
        `${stack} to be shown with its processes ${String(before[stack])}`,
        60_000,
        () => `${berth.log()}\n${String(shown)}`,
      );
    }
    for (const pid of before["born"] ?? []) expect(isAlive(pid)).toBe(true);
    expect((await berth.get(host("moved"))).body).toMatch(/^two /);
    expect((await berth.get(host("born"))).body).toMatch(/^one /);
    expect((await berth.get(host("turned"))).body).toMatch(/^one /);
    const events = (await berth.client.listEvents({ query: { limit: 200 } })).items.map(
      (event) => `${event.component ?? ""} ${event.code}`,
    );
    expect(events).toEqual(expect.arrayContaining([" installation_restored", "web component_adopted", "web component_held"]));
  });

  test("goes on working afterwards: what is left alone gives way to a decision, and to nothing else", async () => {
    await expect(berth.client.scaleComponent({ params: at("moved"), body: { replicas: 3 } })).rejects.toMatchObject({
      code: "wrong_state",
    });
    await berth.deployed("kept", webApp("three"));
    expect((await berth.get(host("kept"))).body).toMatch(/^three /);
    expect(await pids("moved")).toEqual(before["moved"]);
    const load = startLoad(berth, host("moved"), "/", 2);
    await berth.deployed("moved", webApp("four"));
    expect((await load.stop()).failed).toEqual([]);
    expect((await berth.get(host("moved"))).body).toMatch(/^four /);
    // The release serves alone; what it took the place of ends by itself.
    await until(async () => ((before["moved"] ?? []).some(isAlive) ? undefined : true), "the processes of before to end");
  });

  test("makes the database of before powerless: in this home, and in another one that speaks to the same edge", async () => {
    await settled("kept", 2);
    const running = await pids("kept");
    await berth.server("stop");
    const data = join(berth.home, "postgres");
    renameSync(data, join(folder, "newest"));
    await run("cp", ["-a", join(folder, "postgres"), data]);
    const refused = await server(["server", "run"]);
    expect(refused).toMatchObject({
      code: 1,
      said: expect.stringMatching(
        /not the newest of its installation: it has epoch 1, and one with epoch 2[\s\S]*--database-as-it-is/,
      ) as string,
    });

    // A whole copy of the home of then, with the way to the real edge and agent.
    const other = mkdtempSync(join(tmpdir(), "be-"));
    try {
      await run("cp", ["-a", data, join(other, "postgres")]);
      for (const name of ["secrets.key", "audit.key", "edge", "blobs"]) await run("cp", ["-a", join(berth.home, name), join(other, name)]);
      mkdirSync(join(other, "run"));
      for (const name of ["edge.sock", "agent.sock", "logs.sock"]) symlinkSync(join(berth.home, "run", name), join(other, "run", name));
      const env = { ...berth.env, BERTH_HOME: other };
      expect(await server(["server", "run"], env)).toMatchObject({
        code: 1,
        said: expect.stringMatching(/it has epoch 1, and one with epoch 2/) as string,
      });
      await server(["server", "stop"], env);
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
    for (const pid of running) expect(isAlive(pid)).toBe(true);
    expect((await berth.get(host("kept"))).body).toMatch(/^three /);

    // Somebody who means it may say so; here it is put back instead.
    expect(await server(["restore", "--database-as-it-is"])).toMatchObject({
      code: 0,
      said: expect.stringMatching(/epoch 1 and would get 3/) as string,
    });
    await server(["server", "stop"]);
    rmSync(data, { recursive: true });
    renameSync(join(folder, "newest"), data);
    await berth.startServer();
    await settled("kept", 2);
    expect(await pids("kept")).toEqual(running);
  });
});

describe.skipIf(!hasPostgres && process.env["BERTH_REQUIRE_ALL"] !== "1")("with a database of one's own", () => {
  test("a backup is restored in its place, and what runs is taken over with the same processes", async () => {
    const outside = await OutsidePostgres.make();
    const own = new TestBerth({ DATABASE_URL: outside.url() });
    try {
      await own.startServer();
      await own.login();
      await own.deployed("kept", webApp("one"));
      const file = join(folder, "outside.tar");
      expect(await server(["backup", file], own.env)).toMatchObject({ code: 0 });
      const params = at("kept");
      await own.client.scaleComponent({ params, body: { replicas: 2 } });
      await own.client.createStack({ body: { name: "later" } });
      const running = await until(async () => {
        const { items } = await own.client.listInstances({ params });
        return items.length === 2 && items.every((item) => item.ready) ? items.map((item) => item.pid) : undefined;
      }, "two instances");
      await own.server("stop");
      expect(await server(["restore", file, "--yes"], own.env)).toMatchObject({
        code: 0,
        said: expect.stringContaining("the epoch is now 2") as string,
      });
      await own.startServer();
      await until(
        async () => ((await own.client.showComponent({ params })).ready === 2 ? true : undefined),
        "both to be taken over",
        60_000,
        () => own.log(),
      );
      expect((await own.client.listInstances({ params })).items.map((item) => item.pid).toSorted()).toEqual(running.toSorted());
      expect((await own.client.listStacks()).items.map((stack) => stack.name)).toEqual(["kept"]);
    } finally {
      await own.stop();
      await outside.remove();
    }
  }, 400_000);
});
