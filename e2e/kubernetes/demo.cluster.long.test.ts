// The demo in a cluster: it comes up through a registry, answers at the gateway, and goes without a trace. On base images of the test's own, since making some takes minutes.
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { leanTar } from "../../packages/server/src/builders/testing/lean.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { startDockerd, type TestDaemon } from "../../packages/server/src/docker/testing/daemon.ts";
import { kubectl } from "../../tools/cluster/kube.ts";
import { missingBeside } from "./place.ts";

const cluster = inject("cluster");
const missing = missingBeside(cluster);
const root = join(import.meta.dirname, "..", "..");
const base = "berth-test/demo:12";

describe.skipIf(missing !== undefined)(`the demo in a cluster${missing === undefined ? "" : ` (${missing})`}`, () => {
  let daemon: TestDaemon | undefined;
  let folder = "";
  let env: NodeJS.ProcessEnv = {};

  beforeAll(async () => {
    daemon = await startDockerd();
    const api = new DockerApi(daemon.endpoint);
    const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    await importImage(api, createReadStream(await leanTar(["nodejs", "python3"])), { reference: base, env: { PATH: path } });
    api.close();
    folder = mkdtempSync(join(tmpdir(), "berth-demo-"));
    chmodSync(folder, 0o711);
    const home = join(folder, "home");
    for (const made of [home, join(folder, "user")]) mkdirSync(made, { mode: 0o711 });
    // Debian's Node.js is 18, and enough for the guestbook, which asks for what is maintained.
    const runtimes = [
      { runtime: "node", version: "20", build: base, run: base },
      { runtime: "python", version: "3.11", build: base, run: base },
    ];
    writeFileSync(
      join(home, "config.json"),
      JSON.stringify({
        engine: "docker",
        dockerHost: daemon.url,
        registry: `${cluster.registry}/demo`,
        images: { os: base, runtimes, tools: [] },
        networks: { base: daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17"), size: 25 },
      }),
    );
    const { PATH } = process.env;
    const ports = { BERTH_PORT: "0", BERTH_ROUTER_PORT: "0" };
    env = { PATH, LANG: "C.UTF-8", HOME: join(folder, "user"), BERTH_HOME: home, KUBECONFIG: cluster.kubeconfig, ...ports };
  }, 900_000);
  afterAll(async () => {
    await run(join(root, "bin/berth"), ["server", "stop", "--all"]);
    await daemon?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }, 180_000);

  function run(file: string, args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
    return new Promise((resolve) => {
      execFile(file, args, { cwd: root, env, maxBuffer: 10_000_000, timeout: 600_000 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, output: stdout + stderr });
      });
    });
  }
  const demo = (...args: string[]): ReturnType<typeof run> => run(process.execPath, [join(root, "tools/demo.ts"), ...args]);
  const namespaces = (): Promise<string> => kubectl(["get", "namespaces", "-o", "name"]);

  test("says what it needs", async () => {
    const { KUBECONFIG } = env;
    env["KUBECONFIG"] = "/nonexistent";
    const without = await demo("--engine", "kubernetes");
    env["KUBECONFIG"] = KUBECONFIG;
    expect(without).toMatchObject({ code: 1, output: expect.stringContaining("There is no kubeconfig at /nonexistent") as string });
  });

  test("comes up, can be repeated, and leaves nothing", async () => {
    const up = await demo("--engine", "kubernetes", "--domain", "demo.example");
    expect(up, up.output).toMatchObject({ code: 0 });
    expect(up.output).toMatch(/✓ http:\/\/web\.guestbook\.demo\.example:8000\/ {2}200 in/);
    expect(up.output).toMatch(/✓ http:\/\/api\.guestbook\.demo\.example:8000\/ {2}200 in/);
    expect(await namespaces()).toContain("berth-guestbook");
    // Without a word of it: it goes on where it is.
    const again = await demo();
    expect(again, again.output).toMatchObject({ code: 0, output: expect.stringContaining("berth forward -s guestbook") as string });
    const down = await demo("--down");
    expect(down, down.output).toMatchObject({ code: 0 });
    expect(await namespaces()).not.toContain("berth-guestbook");
  });
});
