// `berth place`: what it asks for, and how a component in several clusters is shown and reached.
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

describe("what runs in several clusters", () => {
  const line = { at: "2026-01-01T00:00:00.000Z", stream: "stdout" as const, cursor: "", component: "web" };

  it("is told with its cluster by what it uses, and the cluster that does not answer is named", async () => {
    const used = { at: line.at, cpuSeconds: 1, memory: 1024, processes: 1 };
    await serve({
      showUsage: () => ({ items: [{ component: "web", instances: [{ instance: "web-1", cluster: "east", ...used }] }], away: ["west"] }),
    });
    const { out, err } = await cli.run("components usage -s shop");
    expect(out).toMatch(/web \(east\) +web-1/);
    expect(err).toBe("Cluster west does not answer: what runs there is left out.\n");
  });

  it("is asked in one of its clusters, and each line says whose it is", async () => {
    const asked: unknown[] = [];
    await serve({
      readLogs: async function* ({ query }) {
        asked.push(query.cluster);
        yield { ...line, instance: "web-1", cluster: "east", text: "hello" };
        yield { ...line, instance: "web-2", cluster: "west", text: "there" };
      },
    });
    expect((await cli.run("logs web -s shop --cluster west")).out.replaceAll(/ +/g, " ")).toBe("web (east) | hello\nweb (west) | there\n");
    expect(asked).toEqual(["west"]);
  });

  it("is opened where something answers", async () => {
    const part = { state: "healthy" as const, replicas: 0, ready: 0, urls: ["http://web.shop.east.test"] };
    const clusters = [
      { ...part, name: "east" },
      { ...part, name: "west", replicas: 1, ready: 1, urls: ["http://web.shop.west.test"] },
    ];
    await serve({ listComponents: () => ({ items: [aComponent({ urls: part.urls, clusters })] }) });
    expect((await cli.run("open -s shop --print")).out).toBe("http://web.shop.west.test\n");
  });

  it("is shown as its objects and its differences of each cluster", async () => {
    const asked: unknown[] = [];
    const drifted = { component: "web", cluster: "west", object: "Deployment web--a", path: "spec.image", wanted: "a", found: "b" };
    await serve({
      showManifests: ({ query }) => {
        asked.push(query);
        const object = { component: "web", cluster: "west", name: "Deployment web--a", body: { kind: "Deployment" }, hidden: [] };
        return { stack: "shop", cluster: "west", engine: "kubernetes", objects: [object] };
      },
      showDrift: () => ({
        stack: "shop",
        cluster: "east",
        drift: "report",
        others: [{ name: "west", unknownSince: line.at }],
        differences: [drifted],
      }),
    });
    expect((await cli.run("manifests -s shop --cluster west")).out).toBe("# in cluster west\nkind: Deployment\n");
    expect(asked).toEqual([{ cluster: "west" }]);
    expect(await cli.run("drift -s shop")).toMatchObject({
      code: 1,
      out: expect.stringContaining("web (west)  Deployment web--a  spec.image") as string,
      err: "Cluster west is away: this is what was seen last.\n",
    });
  });
});
