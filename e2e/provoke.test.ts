// Failures that a user meets, each provoked for real through the command line: told as one sentence with evidence and a next step, the same in the terminal,
// in `berth status` and in the API, and long before any deadline (promise 6).
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { causesEn, type CauseCode } from "@berth/contract/causes.ts";
import { berthCommand, projectFolder } from "./provoke/cli.ts";
import { builds, buildMemory, keptBuilds } from "./provoke/builds.ts";
import { kept, programs } from "./provoke/programs.ts";
import { program, provoke, type Provocation } from "./provoke/provocation.ts";
import { startRegistry, type Registry } from "./provoke/registry.ts";
import { listedElsewhere, provokedBy } from "./provoke/table.ts";
import { TestBerth, until, webApp } from "./harness.ts";

let berth: TestBerth;
let registry: Registry;
const nowhere = "http://127.0.0.1:1/";
beforeAll(async () => {
  [berth, registry] = await Promise.all([
    TestBerth.start({ BERTH_BUILD_MEMORY: String(buildMemory), BERTH_GIT_LOOPBACK: "1" }),
    startRegistry(),
  ]);
}, 180_000);
afterAll(async () => {
  await registry?.close();
  await berth?.stop();
}, 180_000);

const isRoot = process.getuid?.() === 0;
const stackOf = ({ code }: Provocation): string => `p-${code.replaceAll("_", "-")}`;
const named = (all: readonly Provocation[]): readonly (readonly [string, Provocation])[] =>
  all.map((one) => [`${one.what}: ${one.code}`, one] as const);

describe.concurrent("a program that", () => {
  test.each(named(programs))("%s", async (_, one) => {
    await provoke(berth, stackOf(one), one);
  });
});

describe.runIf(isRoot).concurrent("a program that, where control groups can be written, as root,", () => {
  test.each(named(kept))("%s", async (_, one) => {
    await provoke(berth, stackOf(one), one);
  });
});

describe.concurrent("a build that", () => {
  test.each(builds("", "").map((one, index) => [`${one.what}: ${one.code}`, index] as const))("%s", async (_, index) => {
    const one = builds(registry.url, nowhere)[index];
    if (one === undefined) throw new Error("no such build");
    await provoke(berth, stackOf(one), one);
  });
});

describe.runIf(isRoot).concurrent("a build that, where control groups can be written, as root,", () => {
  test.each(named(keptBuilds))("%s", async (_, one) => {
    await provoke(berth, stackOf(one), one);
  });
});

describe.concurrent("what comes up and fails later", () => {
  const status = async (stack: string): Promise<string> => (await berthCommand(berth, ["status", "-s", stack])).out;

  test.runIf(isRoot)("dies under load: the limit that it met, while it is running again, as root", async () => {
    const folder = projectFolder(
      berth,
      program(
        "const kept = []; require('http').createServer((q, r) => { kept.push(Buffer.alloc(8_000_000, 1)); r.end('ok') }).listen(process.env.PORT)",
        { ports: ["3000"], deploy: { resources: { limits: { memory: "128M" } } } },
      ),
    );
    expect(await berthCommand(berth, ["up", "-s", "p-load", folder])).toMatchObject({ code: 0 });
    await until(
      async () => {
        // The request that it dies of is not answered.
        await berth.get("web.p-load.localhost").catch(() => undefined);
        const { items } = await berth.client.listInstances({ params: { stack: "p-load", component: "web" } });
        return items.some((one) => one.restarts > 0) || undefined;
      },
      "it to be ended",
      90_000,
    );
    const shown = await until(async () => {
      const { out } = await berthCommand(berth, ["events", "list", "-s", "p-load"]);
      return out.includes("more than its 128 MiB of memory") ? out : undefined;
    }, "the events to tell why it ended");
    expect(shown).toMatch(/web/);
  });

  test("a volume that is gone: not made anew, named with its folder, and taken again when it is back", async () => {
    const folder = projectFolder(
      berth,
      program("require('http').createServer((q, r) => r.end('ok')).listen(process.env.PORT)", undefined, {
        "compose.yaml": JSON.stringify({
          services: { web: { build: ".", ports: ["3000"], volumes: ["ledger:/srv/ledger"], "x-berth": { kind: "stateful" } } },
          volumes: { ledger: {} },
        }),
      }),
    );
    expect((await berthCommand(berth, ["up", "-s", "p-volume", folder])).err).toContain("live");
    const stacks = join(berth.home, "stacks");
    const volume = readdirSync(stacks)
      .map((id) => join(stacks, id, "volumes", "ledger"))
      .find((path) => existsSync(path));
    if (volume === undefined) throw new Error("no volume was made");
    await rename(volume, `${volume}.away`);
    const { items } = await berth.client.listInstances({ params: { stack: "p-volume", component: "web" } });
    process.kill(items[0]?.pid ?? Number.NaN, "SIGKILL");
    const shown = await until(
      async () => {
        const text = await status("p-volume");
        return text.includes("Volume ledger is gone") ? text : undefined;
      },
      "the status to name the volume",
      60_000,
    );
    expect(shown).toContain(`its folder ${volume} is not there any more.`);
    expect(shown).toMatch(/Next: Bring the folder back/);
    await rename(`${volume}.away`, volume);
    await until(async () => (/healthy +1\/1/.test(await status("p-volume")) ? true : undefined), "it to run again", 120_000);
  });

  test("a change that does not come up: status says that the release before serves on, and where the cause is told", async () => {
    const good = projectFolder(berth, webApp("one"));
    expect(await berthCommand(berth, ["up", "-s", "p-behind", good])).toMatchObject({ code: 0 });
    const bad = await berthCommand(berth, ["up", "-s", "p-behind", projectFolder(berth, program("process.exit(9)"))]);
    expect(bad).toMatchObject({ code: 4, err: expect.stringMatching(/web: failed, v1 stays\n/) as string });
    const [, why = ""] = /rollout #2 failed and v1 serves on; why: berth (.*)\n/.exec(await status("p-behind")) ?? [];
    expect(why).not.toBe("");
    expect((await berthCommand(berth, why.split(" "))).out).toMatch(/exit code 9, [\d.]+ m?s after it started\./);
    expect((await berth.get("web.p-behind.localhost")).body).toMatch(/^one /);
  });

  test("several components: what failed by itself before what failed because of it, each once", async () => {
    const services = { db: { build: "./db", ports: ["5432"] }, web: { build: "./web", ports: ["3000"], depends_on: ["db"] } };
    const files = Object.fromEntries([
      ["compose.yaml", JSON.stringify({ services })],
      ...Object.entries(program("console.error('no licence'); process.exit(7)")).map(([name, text]) => [`db/${name}`, text]),
      ...Object.entries(webApp("one")).map(([name, text]) => [`web/${name}`, text]),
    ]) as Record<string, string>;
    const ran = await berthCommand(berth, ["up", "-s", "p-chain", projectFolder(berth, files)]);
    expect(ran.code).toBe(4);
    expect(ran.err).toMatch(
      /2 of 2 did not come up: db, web\.[^]*db: The process ended with exit code 7[^]*\| no licence[^]*web: Component db, which this one needs/,
    );
    expect(ran.err).toMatch(/Next: Mend db first/);
  });
});

describe.concurrent("a source that", () => {
  test.each([
    ["refuses the credentials", 401, /refused the credentials\./, /deploy key or token/],
    ["is not there", 404, /is not there\./, /Check URL and ref/],
  ])("%s", async (_, status, says, next) => {
    const stack = `p-git-${status}`;
    expect(await berthCommand(berth, ["stacks", "create", stack])).toMatchObject({ code: 0 });
    const server = createServer((_request, response) => {
      response.writeHead(status, { "www-authenticate": 'Basic realm="git"' }).end();
    });
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    try {
      const { port } = server.address() as AddressInfo;
      const ran = await berthCommand(berth, ["sources", "fetch", "-s", stack, `http://127.0.0.1:${String(port)}/shop.git`]);
      expect(ran).toMatchObject({ code: 1, out: "" });
      expect(ran.err).toMatch(says);
      expect(ran.err).toMatch(/Next: /);
      expect(ran.err).toMatch(next);
    } finally {
      server.close();
    }
  });
});

describe("every cause of the catalogue", () => {
  const codes = Object.keys(causesEn) as CauseCode[];
  test.each(codes)("%s is provoked by a test, or stands with the reason why none can", (code) => {
    const where = provokedBy(code);
    if (where === undefined) throw new Error(`nothing provokes ${code}: add a provocation, and name it in e2e/provoke/table.ts`);
    if ("cannot" in where) {
      expect(where.cannot.length).toBeGreaterThan(20);
      return;
    }
    if (where.test === "e2e/provoke.test.ts") return;
    expect(readFileSync(join(import.meta.dirname, "..", where.test), "utf8")).toMatch(new RegExp(`["'\` ]${code}[:"'\` ]`));
  });

  test("stands in the table once, and nothing else does", () => {
    for (const code of listedElsewhere) expect(codes).toContain(code);
    for (const one of [...programs, ...kept, ...builds("", ""), ...keptBuilds]) expect(listedElsewhere).not.toContain(one.code);
  });
});
