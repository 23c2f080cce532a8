// What `berth manifests` prints: documents that kubectl reads back as they were, with a word on what was left out.
import { expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { cli, serve } from "../testing/served.ts";

/** What YAML 1.1 and 1.2 read differently has to survive both. */
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web--a", labels: { tier: "on", since: "2026-01-01", port: "0777", "berth.component": "web" } },
  spec: {
    replicas: 2,
    template: {
      spec: {
        containers: [
          {
            name: "web",
            env: [
              { name: "EMPTY", value: "" },
              { name: "LINES", value: "a\nb\n" },
            ],
          },
        ],
      },
    },
  },
};
const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "web--1" }, immutable: true };
const answer = {
  stack: "shop",
  cluster: "prod",
  engine: "kubernetes" as const,
  objects: [
    { component: "web", name: "Deployment web--a", body: deployment, hidden: [] },
    { component: "web", name: "Secret web--1", body: secret, hidden: ["data.TOKEN"] },
  ],
};

it("prints documents that are read back as they were, by either version of YAML, and names what was left out", async () => {
  const asked: unknown[] = [];
  await serve({
    showManifests: ({ params, query }) => {
      asked.push({ ...params, ...query });
      return answer;
    },
  });
  const { code, out, err } = await cli.run("manifests -s shop -c web");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(asked).toEqual([{ stack: "shop", component: "web" }]);
  for (const version of ["1.1", "1.2"] as const)
    expect(parseAllDocuments(out, { version }).map((document) => document.toJS() as unknown)).toEqual([deployment, secret]);
  expect(out.split("\n").filter((line) => line.startsWith("#"))).toEqual(["# left out: data.TOKEN"]);
  expect(JSON.parse((await cli.run("manifests -s shop --json")).out)).toEqual(answer);
  expect(asked.at(-1)).toEqual({ stack: "shop" });
});

it("names what another engine is told, and says so when nothing was released", async () => {
  let objects: { component: string; name: string; body: unknown; hidden: string[] }[] = [
    { component: "web", name: "container shop/web", body: { Image: "web:1" }, hidden: [] },
  ];
  await serve({ showManifests: () => ({ ...answer, engine: "docker", objects }) });
  expect((await cli.run("manifests -s shop")).out).toBe("# container shop/web\nImage: web:1\n");
  objects = [];
  expect(await cli.run("manifests -s shop")).toEqual({
    code: 0,
    out: "",
    err: "Nothing of stack shop was released yet; `berth up` releases it.\n",
  });
});
