// The main job from source to a verified URL, and what must not happen on the way: lost requests, forgotten work, half-told failures.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ApiError } from "@berth/contract/client-errors.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBerth, isAlive, startLoad, until, webApp, type Files } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
});
afterAll(async () => {
  await berth?.stop();
});

const host = (stack: string, component = "web"): string => `${component}.${stack}.localhost`;

describe("a folder", () => {
  test("becomes a URL that answers, and a rollout that says it was fetched through the router", async () => {
    const [rollout] = await berth.deployed("first", webApp("one"));
    expect(rollout).toMatchObject({ phase: "succeeded", release: 1, wanted: 1, ready: 1 });
    expect(rollout?.verified?.[0]).toMatchObject({ status: 200 });
    expect((await berth.get(host("first"))).body).toMatch(/^one web-/);
    const { state, ready, urls } = await berth.client.showComponent({ params: { stack: "first", component: "web" } });
    expect({ state, ready, urls: urls.length }).toEqual({ state: "healthy", ready: 1, urls: 1 });
  });

  test("has a bill of materials and a statement of provenance, of the very bundle that its release runs", async () => {
    const { artifact } = await berth.client.showRelease({ params: { stack: "first", component: "web", release: 1 } });
    const read = async (verb: "sbom" | "provenance"): Promise<unknown> => {
      const { code, said } = await berth.cli(["builds", verb, "--stack", "first"]);
      expect(code, said).toBe(0);
      return JSON.parse(said);
    };
    expect(await read("sbom")).toMatchObject({
      spdxVersion: "SPDX-2.3",
      packages: [{ checksums: [{ checksumValue: artifact.slice(7) }] }, { name: "node", versionInfo: process.versions.node }],
    });
    expect(await read("provenance")).toMatchObject({
      subject: [{ digest: { sha256: artifact.slice(7) } }],
      predicate: { runDetails: { builder: { id: expect.stringMatching(/^urn:berth:builder:host:/) as string } } },
    });
    await expect(berth.client.readBuildSbom({ params: { stack: "first", build: 99 } })).rejects.toMatchObject({ code: "not_found" });
  });

  test("of a monorepo is built with its siblings and the lockfile above it, by `berth up` from inside", async () => {
    const top = mkdtempSync(join(tmpdir(), "berth-monorepo-"));
    try {
      const files: Files = {
        "package.json": JSON.stringify({ name: "shop", private: true, workspaces: ["apps/*", "libs/*"] }),
        "libs/words/package.json": JSON.stringify({ name: "@shop/words", version: "1.0.0", main: "index.js" }),
        "libs/words/index.js": "module.exports = 'words of a sibling';",
        "apps/web/package.json": JSON.stringify({
          name: "@shop/web",
          version: "1.0.0",
          scripts: { start: "node server.js" },
          dependencies: { "@shop/words": "1.0.0" },
        }),
        "apps/web/server.js":
          "require('http').createServer((_, response) => response.end(require('@shop/words'))).listen(process.env.PORT, process.env.HOST);",
      };
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(dirname(join(top, name)), { recursive: true });
        writeFileSync(join(top, name), text);
      }
      execFileSync("git", ["init", "-q"], { cwd: top });
      execFileSync("npm", ["install", "--package-lock-only", "--offline", "--no-audit", "--no-fund", "--silent"], { cwd: top });
      const up = await berth.cli(["up", "--stack", "mono", "--yes"], join(top, "apps", "web"));
      expect(up.said).toContain("answered 200");
      expect(up.code).toBe(0);
      expect((await berth.get(host("mono"))).body).toBe("words of a sibling");
    } finally {
      rmSync(top, { recursive: true, force: true });
    }
  });

  test("whose files `berth init` wrote runs as it did before, with them", async () => {
    const folder = mkdtempSync(join(tmpdir(), "be-init-"));
    try {
      writeFileSync(join(folder, "server.js"), "require('http').createServer((_, r) => r.end('owned')).listen(process.env.PORT);");
      writeFileSync(join(folder, "index.html"), "<p>");
      writeFileSync(join(folder, "Procfile"), "web: node server.js\npages: berth-static .\n");
      const init = await berth.cli(["init", "--stack", "owned"], folder);
      expect(init.said).toMatch(/Dockerfile +written[\s\S]*compose.yaml +written[\s\S]*\.berth-static\.mjs +written/);
      expect(readFileSync(join(folder, ".berth-static.mjs"), "utf8")).toContain("createServer");
      const again = await berth.cli(["init", "--stack", "owned"], folder);
      expect([again.code, /written|replaced|kept/.test(again.said)]).toEqual([0, false]);
      const up = await berth.cli(["up", "--stack", "owned", "--yes"], folder);
      expect(up.said).toContain("answered 200");
      expect(up.code).toBe(0);
      expect((await berth.get(host("owned"))).body).toBe("owned");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("that did not change makes no new release", async () => {
    await berth.deployed("same", webApp("one"));
    const again = await berth.up("same", webApp("one"));
    expect(again).toMatchObject({ rollouts: [], builds: [], unchanged: ["web"] });
  });

  test("that changed replaces every instance without losing a request, and a rollback brings artifact and config back together", async () => {
    await berth.deployed("roll", webApp("one"));
    await berth.client.scaleComponent({ params: { stack: "roll", component: "web" }, body: { replicas: 3 } });
    await until(
      async () => (await berth.client.showComponent({ params: { stack: "roll", component: "web" } })).ready === 3 || undefined,
      "three ready instances",
      60_000,
    );
    const load = startLoad(berth, host("roll"));
    await berth.client.updateConfig({ params: { stack: "roll", component: "web" }, body: { values: { COLOUR: "green" } } });
    await berth.deployed("roll", webApp("two"));
    expect(JSON.parse((await berth.get(host("roll"), "/env")).body)).toMatchObject({ COLOUR: "green", RUN_ENV: "production" });
    const back = await berth.client.rollbackComponent({ params: { stack: "roll", component: "web" }, body: { release: 1 } });
    expect((await berth.ended("roll", "web", back.rollouts[0]?.number ?? 0)).phase).toBe("succeeded");
    const restart = await berth.client.restartComponent({ params: { stack: "roll", component: "web" } });
    expect((await berth.ended("roll", "web", restart.rollout ?? 0)).phase).toBe("succeeded");
    await berth.client.scaleComponent({ params: { stack: "roll", component: "web" }, body: { replicas: 1 } });
    await until(
      async () => (await berth.client.listInstances({ params: { stack: "roll", component: "web" } })).items.length === 1 || undefined,
      "one instance to be left",
      120_000,
    );
    const { requests, failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(requests).toBeGreaterThan(100);
    expect((await berth.get(host("roll"))).body).toMatch(/^one /);
    expect(JSON.parse((await berth.get(host("roll"), "/env")).body)).not.toHaveProperty("COLOUR");
    expect((await berth.client.showComponent({ params: { stack: "roll", component: "web" } })).replicas).toBe(1);
  }, 600_000);
});

describe("a release that does not come up", () => {
  test("fails with its cause, and the one before goes on serving", async () => {
    await berth.deployed("safe", webApp("one"));
    const load = startLoad(berth, host("safe"));
    const bad = { ...webApp("two"), "server.js": "console.error('Error: no database here'); process.exit(3)" };
    const made = await berth.up("safe", bad);
    const rollout = await berth.ended("safe", "web", made.rollouts[0]?.number ?? 0);
    expect(rollout).toMatchObject({ phase: "failed", cause: { code: "exited_at_start", params: { exitCode: 3 } } });
    expect(JSON.stringify(rollout.cause?.evidence)).toContain("no database here");
    const { failed } = await load.stop();
    expect(failed).toEqual([]);
    expect((await berth.get(host("safe"))).body).toMatch(/^one /);
    const good = await berth.deployed("safe", webApp("three"));
    expect(good[0]?.phase).toBe("succeeded");
  });
});

describe("the control plane", () => {
  test("may be killed and started again: same instances, same process ids, work goes on", async () => {
    await berth.deployed("kill", webApp("one"));
    const pids = async (): Promise<(number | undefined)[]> =>
      (await berth.client.listInstances({ params: { stack: "kill", component: "web" } })).items.map((instance) => instance.pid);
    const before = await pids();
    const gate = await closedGate();
    try {
      const made = await berth.up("kill", { ...webApp("two"), "server.js": gate.behind(webApp("two")["server.js"] ?? "") });
      const load = startLoad(berth, host("kill"));
      const pid = berth.serverPid();
      process.kill(pid, "SIGKILL");
      await until(async () => !isAlive(pid) || undefined, "the server to be gone");
      expect(before.every((instance) => instance !== undefined && isAlive(instance))).toBe(true);
      gate.open();
      await berth.startServer();
      expect((await berth.ended("kill", "web", made.rollouts[0]?.number ?? 0, 120_000)).phase).toBe("succeeded");
      const { failed } = await load.stop();
      expect(failed).toEqual([]);
      expect((await berth.get(host("kill"))).body).toMatch(/^two /);
    } finally {
      gate.close();
    }
  }, 400_000);
});

/** What a program waits for before it serves: so long, its rollout is in the middle of its work, however fast or slow this machine is. */
async function closedGate(): Promise<{ behind(program: string): string; open(): void; close(): void }> {
  const opened = Promise.withResolvers<void>();
  const server = createServer((_request, response) => void opened.promise.then(() => response.end()));
  const port = await new Promise<number>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
  return {
    behind: (program) => `fetch("http://127.0.0.1:${String(port)}/").then(() => {${program}});`,
    open: opened.resolve,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

describe("a stack", () => {
  test("is removed with everything it runs", async () => {
    await berth.deployed("gone", webApp("one"));
    const [instance] = (await berth.client.listInstances({ params: { stack: "gone", component: "web" } })).items;
    await berth.client.deleteStack({ params: { stack: "gone" }, query: {} });
    await until(
      async () =>
        berth.client.showStack({ params: { stack: "gone" } }).then(
          () => undefined,
          (error: unknown) => {
            if (error instanceof ApiError && error.code === "not_found") return true;
            throw error;
          },
        ),
      "the stack to be gone",
      60_000,
    );
    expect(isAlive(instance?.pid ?? 1)).toBe(false);
    expect((await berth.get(host("gone"))).status).toBe(404);
  });
});
