// What a plan says about isolation and limits, and when a second team is refused.
import { describe, expect, it } from "vitest";
import { keepingNotes, refuseSecondTeam, type Keeping } from "./isolation.ts";

const strong: Keeping = {
  reachable: true,
  isolation: ["uid", "namespace", "cgroup"],
  limits: { memory: true, cpu: true, processes: true },
  notices: [],
};
const none: Keeping = {
  reachable: true,
  isolation: ["none"],
  limits: { memory: false, cpu: false, processes: false },
  notices: [
    { code: "isolation_none", params: {} },
    { code: "volumes_env_only", params: {} },
  ],
};
const components = { web: { resources: { memory: 1_048_576, cpu: 1 } }, worker: { resources: {} }, job: { resources: { processes: 5 } } };

describe("a plan", () => {
  it("says nothing where everything holds", () => {
    expect(keepingNotes(strong, components)).toEqual([]);
  });

  it("names what does not hold: isolation once, each limit that a component asks for, and no other", () => {
    expect(keepingNotes(none, components)).toEqual([
      { code: "isolation_none", params: {} },
      { code: "limit_missing", params: { limit: "memory", component: "web" } },
      { code: "limit_missing", params: { limit: "cpu", component: "web" } },
      { code: "limit_missing", params: { limit: "processes", component: "job" } },
    ]);
    expect(keepingNotes({ ...none, limits: { memory: false, cpu: true, processes: true }, notices: [] }, components)).toEqual([
      { code: "limit_missing", params: { limit: "memory", component: "web" } },
    ]);
  });

  it("names what the door does not do, for those that ask for it", () => {
    const gateway = { ...strong, doorLacks: ["published ports", "request limits", "redirects to HTTPS"] };
    const asking = {
      web: { resources: {}, ports: [], domains: [{ host: "a.example", https: "redirect" as const }, { host: "b.example" }], maxBody: 5 },
      db: { resources: {}, ports: [{ name: "sql", protocol: "tcp" as const, published: 5432 }] },
      plain: { resources: {}, ports: [{ name: "http", protocol: "http" as const }], domains: [{ host: "c.example" }] },
    };
    expect(keepingNotes(gateway, asking)).toEqual([
      { code: "door_lacks", params: { component: "web", what: "request limits" } },
      { code: "door_lacks", params: { component: "web", what: "redirects to HTTPS" } },
      { code: "door_lacks", params: { component: "db", what: "published ports" } },
    ]);
    expect(keepingNotes(strong, asking)).toEqual([]);
  });

  it("says when services are asked for where none can be made", () => {
    const found = { ...strong, notices: [{ code: "swarm_not_manager", params: {} }] };
    expect(keepingNotes(found, components)).toEqual([{ code: "swarm_not_manager", params: {} }]);
  });

  it("claims nothing about a cluster that does not answer", () => {
    expect(keepingNotes({ ...none, reachable: false }, components)).toEqual([]);
  });
});

describe("a second team", () => {
  const teams = { wanted: "second", other: "first" };
  const code = (found: Keeping): unknown => {
    try {
      refuseSecondTeam(found, "local", teams);
      return undefined;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it("is served where its programs are kept apart by users or namespaces", () => {
    for (const isolation of [["uid"], ["namespace"], ["uid", "namespace", "cgroup"]])
      expect(code({ ...strong, isolation })).toBeUndefined();
  });

  it("is refused where they are not, and where nobody can say", () => {
    expect(code(none)).toBe("team_not_isolated");
    expect(
      code({ ...none, reachable: false, notices: [{ code: "cluster_unreachable", params: { cluster: "local", reason: "it is away" } }] }),
    ).toBe("engine_unavailable");
    expect(code({ ...none, reachable: false, notices: [{ code: "other_server", params: { cluster: "local", server: "alpha" } }] })).toBe(
      "other_server",
    );
  });
});
