// On a PostgreSQL that somebody else runs: the built server works on it, waits for it, and says in words why it will not; two servers share one.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { TestBerth, isAlive, until, webApp } from "./harness.ts";
import { OutsidePostgres, hasPostgres, password } from "./outside.ts";

describe.skipIf(!hasPostgres && process.env["BERTH_REQUIRE_ALL"] !== "1")("an outside PostgreSQL", () => {
  let outside: OutsidePostgres;
  const berths: TestBerth[] = [];
  beforeAll(async () => {
    outside = await OutsidePostgres.make();
  }, 180_000);
  afterAll(async () => {
    await outside?.remove();
  });
  afterEach(async () => {
    for (const berth of berths.splice(0)) await berth.stop();
  }, 300_000);

  const make = (databaseUrl: string, more: Record<string, string> = {}): TestBerth => {
    const berth = new TestBerth({ DATABASE_URL: databaseUrl, ...more });
    berths.push(berth);
    return berth;
  };
  const start = async (databaseUrl: string, more: Record<string, string> = {}): Promise<TestBerth> => {
    const berth = make(databaseUrl, more);
    await berth.startServer();
    await berth.login();
    return berth;
  };
  /** A database of its own, owned by role berth. */
  const database = async (name: string): Promise<string> => {
    await outside.query(`create database ${name} owner berth`);
    return outside.url(name);
  };
  const instances = async (berth: TestBerth) => (await berth.client.listInstances({ params: { stack: "shop", component: "web" } })).items;

  test("over TCP with a password: it deploys; when the database is killed the application serves on, the API says so, and both go on when it is back", async () => {
    const berth = await start(outside.url());
    await berth.deployed("shop", webApp("one"));
    const answer = async (): Promise<string> => (await berth.get("web.shop.localhost")).body;
    expect(await answer()).toMatch(/^one /);
    expect((await berth.client.runDoctor()).checks.find((check) => check.name === "database")?.found).toMatch(/PostgreSQL \d.*your own/);

    const pid = berth.serverPid();
    await outside.kill();
    await expect(berth.client.listStacks()).rejects.toMatchObject({ code: "database_unavailable", status: 503 });
    expect(await answer()).toMatch(/^one /);
    await outside.start();
    await until(async () => (await berth.client.listStacks().catch(() => undefined))?.items.length, "the API to answer again");
    await berth.deployed("shop", webApp("two"));
    expect(await answer()).toMatch(/^two /);
    expect(berth.serverPid()).toBe(pid);

    // A start that finds no database waits for it, and says for what.
    await berth.server("stop");
    await outside.kill();
    const waits = `Waiting for the database berth at 127.0.0.1:${outside.port}: nothing listens there`;
    const starting = spawn(process.execPath, [berth.program, "server", "start"], { env: berth.env });
    const ended = once(starting, "close") as Promise<[number | null]>;
    let output = "";
    for (const stream of [starting.stdout, starting.stderr]) stream.on("data", (piece: Buffer) => (output += piece.toString()));
    await until(
      async () => output.includes(waits) || undefined,
      "the start to say what it waits for",
      60_000,
      () => output,
    );
    expect((await berth.tryServer("status")).output).toContain(waits);
    expect(await answer()).toMatch(/^two /);
    await outside.start();
    expect({ code: (await ended)[0], output }).toMatchObject({ code: 0 });
    expect(berth.log() + output).not.toContain(password);
    await berth.startServer();
    expect((await berth.client.listStacks()).items.map((stack) => stack.name)).toEqual(["shop"]);
  });

  test("over a unix socket", async () => {
    await outside.query("drop database berth with (force)");
    await outside.query("create database berth owner berth");
    const berth = await start(outside.socketUrl());
    await berth.deployed("shop", webApp("socket"));
    expect((await berth.get("web.shop.localhost")).body).toMatch(/^socket /);
  });

  describe.concurrent("that will not do is refused with a sentence and what to do:", () => {
    const refused = async (url: string, ...words: string[]): Promise<void> => {
      // Not among those that the end of each test stops: these run at the same time.
      const berth = new TestBerth({ DATABASE_URL: url });
      try {
        const { code, output } = await berth.tryServer("start");
        expect(code, output).toBe(1);
        for (const word of words) expect(output).toContain(word);
        expect(output).toMatch(/^(Waiting .*\n)?Error: .*\nNext: .*\n$/);
        expect(output + berth.log()).not.toContain(password);
      } finally {
        rmSync(berth.home, { recursive: true, force: true, maxRetries: 5 });
      }
    };
    test("a wrong password", () =>
      refused(outside.url("postgres", { user: "berth", password: "wrong" }), "refuses the password of user berth"));
    test("a user that is not there", () => refused(outside.url("postgres", { user: "nobody", password: "x" }), "nobody"));
    test("a database that is not there", () =>
      refused(outside.url("absent"), "has no database absent", "CREATE DATABASE absent OWNER berth"));
    test("no right to make tables", () =>
      refused(outside.url("postgres"), "may not make tables in schema public of database postgres", "GRANT CREATE"));
    test("nothing listens", () =>
      refused(`postgres://berth:${encodeURIComponent(password)}@127.0.0.1:1/berth`, "does not answer: nothing listens there"));
    test("no address at all", () => refused(`mysql://berth:${encodeURIComponent(password)}@127.0.0.1/berth`, "DATABASE_URL is no address"));
    test("an address that cannot be read", () =>
      refused(`postgres://berth:${encodeURIComponent(password)}@127.0.0.1:70000000/berth`, "DATABASE_URL"));
    test("an encoding that loses letters", async () => {
      await outside.query("create database latin owner berth encoding 'SQL_ASCII' locale 'C' template template0");
      await refused(outside.url("latin"), "stores text as SQL_ASCII", "ENCODING 'UTF8'");
    });
    test("a database that is read-only", async () => {
      const url = await database("frozen");
      await outside.query("alter database frozen set default_transaction_read_only = on");
      await refused(url, "takes no writes");
    });
    test("a standby", async () => {
      const standby = await outside.standby();
      try {
        await refused(standby.url(), "is a standby", "primary");
      } finally {
        await standby.remove();
      }
    });
  });

  test("of another installation is refused to a home that has one", async () => {
    const [mine, other] = [await database("mine"), await database("other")];
    const first = await start(mine);
    const second = await start(other);
    await second.server("stop");
    await first.server("stop", "--all");
    const wrong = make(other);
    mkdirSync(wrong.home, { recursive: true });
    writeFileSync(join(wrong.home, "installation.json"), readFileSync(join(first.home, "installation.json")));
    const { code, output } = await wrong.tryServer("start");
    expect(code).toBe(1);
    expect(output).toMatch(/^Error: The home folder .* belongs to installation .*, the database to .*\nNext: /);
  });

  test("with two servers: one drives the instances; the other answers, takes what is only written down, refuses the rest with the place, and does not act when the first is killed", async () => {
    const url = await database("shared");
    const first = await start(url);
    await first.deployed("shop", webApp("one"));

    const second = make(url);
    const told = await second.tryServer("start");
    expect(told).toMatchObject({ code: 0, output: expect.stringContaining("runs no instances here") as string });
    await second.startServer();
    second.token = first.token;
    await second.startServer();
    expect((await second.tryServer("status")).output).toContain(`Cluster local belongs to another server: ${first.url}`);
    expect(existsSync(join(second.home, "run", "edge.sock"))).toBe(false);
    expect(await second.client.showComponent({ params: { stack: "shop", component: "web" } })).toMatchObject({
      state: "healthy",
      urls: [expect.stringContaining(String(first.router.port)) as string],
    });
    expect((await second.client.listClusters()).items).toMatchObject([{ name: "local", reachable: false }]);
    await expect(second.upload("shop", webApp("two"))).rejects.toMatchObject({
      code: "other_server",
      status: 409,
      message: expect.stringContaining(first.url) as string,
    });
    await expect(second.upload("fresh", webApp("two"))).rejects.toMatchObject({ code: "other_server" });
    await expect(second.client.setSecret({ params: { stack: "shop", secret: "key" }, body: { value: "x" } })).rejects.toMatchObject({
      code: "other_server",
    });
    await expect(second.client.setSecret({ params: { stack: "nowhere", secret: "key" }, body: { value: "x" } })).rejects.toMatchObject({
      code: "other_server",
    });

    // Written down by the second, done by the first.
    await second.client.scaleComponent({ params: { stack: "shop", component: "web" }, body: { replicas: 3 } });
    const three = await until(
      async () => {
        const found = await instances(second);
        return found.length === 3 && found.every((one) => one.ready) ? found : undefined;
      },
      "three instances",
      60_000,
      () => first.log(),
    );
    const pids = three.map((one) => one.pid ?? 0);

    const killed = first.serverPid();
    process.kill(killed, "SIGKILL");
    await second.client.scaleComponent({ params: { stack: "shop", component: "web" }, body: { replicas: 1 } });
    // Every loop looks at least once a second: after three, whoever would take the row has.
    const since = Date.now();
    await until(async () => {
      const held = await outside.query(
        `select lease_holder from due where cluster = 'local' and lease_holder not like '${killed}-%'`,
        "shared",
      );
      expect(held).toEqual([]);
      expect(pids.every(isAlive)).toBe(true);
      expect((await second.client.listStacks()).items).toHaveLength(1);
      return Date.now() - since > 3_000 || undefined;
    }, "three seconds to pass");
    expect((await first.get("web.shop.localhost")).status).toBe(200);
    const claim = await second.tryServer("claim");
    expect(claim).toMatchObject({ code: 1, output: expect.stringMatching(/showed a sign of life \d+ s ago/) as string });

    await first.startServer();
    await until(
      async () => (await instances(first)).length === 1 || undefined,
      "the order to be carried out by the first",
      60_000,
      () => first.log(),
    );

    // Given up in good order, it can be taken at once; the first then knows that it is not its any more.
    await first.server("stop", "--all");
    expect(await second.tryServer("claim")).toMatchObject({
      code: 0,
      output: expect.stringContaining("Cluster local is this home's now") as string,
    });
    await second.server("stop");
    await second.startServer();
    expect(existsSync(join(second.home, "run", "edge.sock"))).toBe(true);
    expect(await first.tryServer("start")).toMatchObject({ code: 0, output: expect.stringContaining("runs no instances here") as string });
    expect((await first.tryServer("status")).output).toContain("which this home drove, was taken over by another server");
  }, 400_000);

  test("with two servers, each with a cluster of its own: each runs its own stacks, and a name that is taken is refused", async () => {
    const url = await database("two_clusters");
    const first = await start(url);
    await first.deployed("shop", webApp("first"));
    const second = make(url, { BERTH_CLUSTER: "annex" });
    await second.startServer();
    second.token = first.token;
    await second.startServer();
    await second.deployed("annexed", webApp("second"));
    expect((await second.get("web.annexed.localhost")).body).toMatch(/^second /);
    expect((await first.get("web.annexed.localhost")).status).toBe(404);
    expect((await first.client.listClusters()).items).toMatchObject([
      { name: "annex", reachable: false, stacks: 1 },
      { name: "local", reachable: true, stacks: 1 },
    ]);
    await expect(first.upload("annexed", webApp("x"))).rejects.toMatchObject({ code: "other_server" });
    expect(readdirSync(join(first.home, "logs")).includes("annexed")).toBe(false);

    expect(await make(url, { BERTH_CLUSTER: "annex" }).tryServer("start")).toMatchObject({
      code: 1,
      output: expect.stringContaining("Cluster annex belongs to another server") as string,
    });

    // Taken over while it runs (a person insisted): it stops itself, and what it runs goes on.
    const pid = first.serverPid();
    await outside.query("update clusters set node_id = gen_random_uuid() where name = 'local'", "two_clusters");
    await until(async () => !isAlive(pid) || undefined, "the server to end itself");
    expect(first.log()).toContain("Cluster local was taken over by another server.");
    expect((await first.get("web.shop.localhost")).status).toBe(200);
  }, 400_000);
});
