// `berth clusters rename`: what it asks for, and what it says of the names before.
import type { Cluster } from "@berth/contract/resources/clusters.ts";
import { expect, it } from "vitest";
import { cli, serve } from "../testing/served.ts";

const cluster = (over: Partial<Cluster>): Cluster => ({
  name: "prod",
  engine: "kubernetes",
  reachable: true,
  version: "1.34",
  isolation: [],
  capabilities: {},
  stacks: 2,
  domain: "apps.example.com",
  createdAt: "2026-01-01T00:00:00.000Z",
  allowed: {},
  ...over,
});

it("asks for the new name, and says which go on leading there", async () => {
  const asked: unknown[] = [];
  await serve({
    changeCluster: ({ params, body }) => {
      asked.push({ ...params, ...body });
      return cluster({ formerNames: ["prod-1", "prod-2"] });
    },
    showCluster: () => cluster({ formerNames: ["prod-1", "prod-2"] }),
  });
  const { code, out } = await cli.run("clusters rename prod-2 prod");
  expect(code).toBe(0);
  expect(out).toContain("prod-2 is called prod now; prod-1, prod-2 lead to it as before.");
  expect(asked).toEqual([{ cluster: "prod-2", name: "prod" }]);
  expect((await cli.run("clusters show prod-1")).out).toMatch(/called before +prod-1, prod-2/);
});

it("wants both names", async () => {
  await serve({});
  expect(await cli.run("clusters rename prod")).toMatchObject({ code: 2 });
});
