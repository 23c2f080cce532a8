// Names of clusters in what comes in and goes out: none is overlooked, and nothing else is taken for one.
import { routes } from "@berth/contract/api.ts";
import type { Route } from "@berth/contract/route.ts";
import { describe, expect, it } from "vitest";
import { clusterNamesIn, renameFacts } from "./cluster-names.ts";

const of = (name: string): string => (name === "west" ? "rhine" : name);

interface Found {
  readonly at: string;
  readonly mark: unknown;
}

/** Every text called `cluster`, every list of such a name, and the parameters of every sentence. */
function candidates(schema: unknown, at: string): Found[] {
  if (typeof schema !== "object" || schema === null) return [];
  const { properties, items, anyOf, patternProperties } = schema as Record<string, Record<string, unknown> | unknown[] | undefined>;
  return [
    ...Object.entries(properties ?? {}).flatMap(([key, one]): Found[] => {
      const { type, "x-berth": mark } = one as Record<string, unknown>;
      const found = { at: `${at}.${key}`, mark };
      return (key === "cluster" && type === "string") || (key === "params" && type === "object" && "patternProperties" in (one as object))
        ? [found]
        : candidates(one, found.at);
    }),
    ...candidates(items, `${at}[]`),
    ...(Array.isArray(anyOf) ? anyOf.flatMap((one) => candidates(one, at)) : []),
    ...Object.values(patternProperties ?? {}).flatMap((one) => candidates(one, `${at}.*`)),
  ];
}

describe("the contract", () => {
  it("marks each name of a cluster, and the parameters of all sentences that may have one", () => {
    const all = (Object.entries(routes) as [string, Route][]).flatMap(([name, { params, query, body, response }]) =>
      Object.entries({ params, query, body, response }).flatMap(([part, schema]) => candidates(schema, `${name} ${part}`)),
    );
    expect(all.length).toBeGreaterThan(40);
    const bare = all.filter(({ mark }) => mark === undefined).map(({ at }) => at);
    // What somebody did is kept, and proved, as it was written; reasons of verbs, findings about sources and what the doctor says of this machine name no cluster.
    const others = bare.filter((at) => !/^listAudit |^verifyAudit |allowed\.|\.plan\.|findings|warnings|checks/.test(at));
    expect(others).toEqual([]);
  });
});

describe("a name", () => {
  it("is another one wherever it is marked, at any depth, and nowhere else", () => {
    const component = clusterNamesIn(routes.showComponent.response);
    const shown = {
      stack: "west",
      name: "west",
      clusters: [
        { name: "home" },
        { name: "west", cause: { code: "cluster_unreachable", params: { cluster: "west", reason: "west" }, evidence: [] } },
      ],
      spec: { kind: "worker", placement: { clusters: [{ name: "home" }, { name: "west", share: 2 }] }, env: { WEST: "west" } },
    };
    expect(component?.(shown, of)).toEqual({
      stack: "west",
      name: "west",
      clusters: [
        { name: "home" },
        { name: "rhine", cause: { code: "cluster_unreachable", params: { cluster: "rhine", reason: "west" }, evidence: [] } },
      ],
      spec: { kind: "worker", placement: { clusters: [{ name: "home" }, { name: "rhine", share: 2 }] }, env: { WEST: "west" } },
    });
    expect(shown.clusters[1]?.name).toBe("west");
  });

  it("is one of several in a sentence", () => {
    expect(renameFacts({ clusters: "home, west", count: 2 }, of)).toEqual({ clusters: "home, rhine", count: 2 });
  });

  it("is not looked for where a schema has none", () => {
    expect(clusterNamesIn(routes.listTokens.response)).toBeUndefined();
    expect(clusterNamesIn(undefined)).toBeUndefined();
  });
});
