// `berth place`: what it asks for, and how a component in several clusters is shown.
import type { Component } from "@berth/contract/resources/components.ts";
import { describe, expect, it } from "vitest";
import { aComponent } from "../testing/objects.ts";
import { cli, serve } from "../testing/served.ts";

const nothing = { stack: "shop", version: 1, rollouts: [], builds: [], unchanged: ["web"], removed: [] };

describe("berth place", () => {
  it("names clusters with numbers or shares, and the stack's own alone", async () => {
    const asked: unknown[] = [];
    await serve({
      placeComponent: ({ body }) => {
        asked.push(body);
        return nothing;
      },
      listComponents: () => ({ items: [aComponent()] }),
    });
    for (const args of ["--on east=3,west=2 --pause 30s", "--share east=2,west", "--off"])
      expect((await cli.run(`place web ${args}`)).code).toBe(0);
    expect(asked).toEqual([
      {
        placement: {
          clusters: [
            { name: "east", replicas: 3 },
            { name: "west", replicas: 2 },
          ],
          pause: 30_000,
        },
      },
      { placement: { clusters: [{ name: "east", share: 2 }, { name: "west" }] } },
      {},
    ]);
  });

  it.each(["", "--on east", "--on east=3 --off", "--on east=three", "--share =2"])(
    "wants clusters with numbers, not `%s`",
    async (args) => {
      await serve({});
      expect(await cli.run(`place web ${args}`)).toMatchObject({ code: 2 });
    },
  );

  it("shows each cluster, and since when nothing is known of one", async () => {
    const clusters: NonNullable<Component["clusters"]> = [
      { name: "east", state: "healthy", replicas: 3, ready: 3, release: 8, urls: ["http://web.shop.east.test"] },
      {
        name: "west",
        state: "degraded",
        replicas: 2,
        ready: 1,
        release: 7,
        rollout: { number: 12, phase: "preparing" },
        urls: [],
        unknownSince: "2026-01-01T00:00:00.000Z",
      },
    ];
    await serve({ showComponent: () => aComponent({ clusters }), listComponents: () => ({ items: [aComponent({ clusters })] }) });
    const { out } = await cli.run("status");
    expect(out).toMatch(/web +east +healthy +3\/3 +v8 .*http:\/\/web\.shop\.east\.test/);
    expect(out).toMatch(/web +west +unknown since .*was degraded +1\/2 +v7 +rollout #12 preparing/);
    expect((await cli.run("components show web")).out).toMatch(/clusters +east: healthy, 3 of 3, v8, http:\/\/web\.shop\.east\.test/);
  });
});
