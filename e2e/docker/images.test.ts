// Base images in a whole Berth: a server that runs builds on what was made meanwhile, says who is behind, and moves them when they are deployed again.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { makeBases } from "../../packages/server/src/builders/bases/make.ts";
import { labDeps, publish } from "../../packages/server/src/builders/testing/baselab.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { startDockerd } from "../../packages/server/src/docker/testing/daemon.ts";
import { TestBerth, webApp } from "../harness.ts";
import { missing } from "./place.ts";

test.skipIf(missing !== undefined)(
  `a component moves to a new base image when it is deployed again${missing === undefined ? "" : ` (${missing})`}`,
  async () => {
    const dir = mkdtempSync(join(tmpdir(), "berth-bases-"));
    const daemon = await startDockerd();
    const api = new DockerApi(daemon.endpoint);
    const networks = { base: daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17"), size: 25 };
    const berth = await TestBerth.start({ BERTH_ENGINE: "docker", BERTH_DOCKER_HOST: daemon.url }, { networks });
    try {
      mkdirSync(join(berth.home, "images"), { recursive: true });
      const deps = { ...labDeps(api, dir, () => new Date()), record: join(berth.home, "images", "bases.json") };
      const make = (): ReturnType<typeof makeBases> => makeBases(deps, ["tool"], { force: false, signal: new AbortController().signal });
      const behind = async (): Promise<readonly string[] | undefined> => {
        const { stdout } = await promisify(execFile)(process.execPath, [berth.program, "images", "list", "--json"], { env: berth.env });
        const { items } = JSON.parse(stdout) as { items: { name: string; behind: string[] }[] };
        return items.find(({ name }) => name === "node")?.behind;
      };
      publish(dir, "berth-maker", "1");
      publish(dir, "berth-tool", "24.1");
      await make();
      const app = webApp("one");
      expect((await berth.deployed("shop", app))[0]).toMatchObject({ phase: "succeeded", release: 1 });
      expect(await behind()).toEqual([]);

      publish(dir, "berth-tool", "24.2");
      expect(await make()).toMatchObject([{ result: "new", changes: { changed: [{ name: "berth-tool", from: "24.1", to: "24.2" }] } }]);
      expect(await behind()).toEqual(["shop/web"]);

      // The same source: it is built again for its base alone.
      expect((await berth.deployed("shop", app))[0]).toMatchObject({ phase: "succeeded", release: 2 });
      expect(await behind()).toEqual([]);
      expect((await berth.get("web.shop.localhost")).body).toMatch(/^one web-/);
    } finally {
      await berth.stop();
      api.close();
      await daemon[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    }
  },
  900_000,
);
