import { describe, expect, it } from "vitest";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { contentHash } from "./canonical.ts";
import { trafficEntry, type EntryEndpoint, type EntryParts } from "./traffic-entry.ts";

const spec: ComponentSpec = {
  ...defaultSpec("web"),
  ports: [
    { name: "http", protocol: "http" },
    { name: "mqtt", protocol: "tcp", published: 1883 },
    { name: "admin", protocol: "http", published: 9000 },
  ],
  domains: [{ host: "shop.example.org", path: "/api" }],
  drainTimeout: 7_000,
};
/** The wanted release, and those before it. */
const of = (...specs: readonly (Partial<ComponentSpec> & { readonly hash?: string })[]): EntryParts["releases"] =>
  specs.map(({ hash = "sha256:wanted", ...over }) => ({ hash, spec: { ...spec, ...over } }));
const parts: EntryParts = {
  stack: "shop",
  domain: "localhost",
  component: "web",
  stopped: false,
  drainTimeout: 7_000,
  releases: of({}),
  published: new Set([1883, 9000]),
  hosts: new Set(["web.shop.localhost /", "shop.example.org /api", "old.example.org /"]),
  internalPorts: new Map([
    ["http", 20_001],
    ["mqtt", 20_002],
    ["admin", 20_003],
  ]),
};
const endpoint = (instance: string, addresses: EntryEndpoint["addresses"], state: EntryEndpoint["state"] = "active"): EntryEndpoint => ({
  instance,
  releaseHash: `sha256:${instance}`,
  state,
  addresses,
});
const local = (port: number): { host: string; port: number } => ({ host: "127.0.0.1", port });
const endpointsOf = (entry: ReturnType<typeof trafficEntry>, port: string): string[] =>
  entry.ports.find((one) => one.name === port)?.tracks[0]?.endpoints.map((one) => `${one.instance} ${one.host}:${one.port} ${one.state}`) ??
  [];

describe("a traffic entry", () => {
  const entry = trafficEntry(parts, [
    endpoint("i1", { http: local(1), mqtt: local(2), admin: local(3) }),
    endpoint("i2", { http: local(4), mqtt: local(5), admin: local(6) }, "draining"),
  ]);
  it("leads hosts to the port that each route names, and none to a TCP port", () => {
    expect(entry.ports.map((port) => [port.name, port.hosts.map(({ host, path }) => host + path)])).toEqual([
      ["http", ["shop.example.org/api", "web.shop.localhost/"]],
      ["mqtt", []],
      ["admin", []],
    ]);
  });
  it("has the wanted release's overlays over routes where the door is made of objects, and is what it was everywhere else", () => {
    const kubernetes = { Deployment: { metadata: {} }, Service: { metadata: { annotations: { a: "b" } } } };
    const overlaid = { ...parts, releases: of({ kubernetes }, { hash: "sha256:old", kubernetes: { HTTPRoute: {} } }) };
    expect(trafficEntry({ ...overlaid, takesOverlays: true }, [])).toMatchObject({ kubernetes: { Service: kubernetes.Service } });
    expect(trafficEntry({ ...overlaid, takesOverlays: true }, []).kubernetes).not.toHaveProperty("HTTPRoute");
    expect(contentHash(trafficEntry(overlaid, []))).toBe(
      contentHash(trafficEntry({ ...parts, releases: of({}, { hash: "sha256:old" }) }, [])),
    );
    expect(trafficEntry({ ...parts, takesOverlays: true }, [])).not.toHaveProperty("kubernetes");
  });
  it("says of each instance what its own release speaks", () => {
    const http: ComponentSpec["ports"] = [{ name: "http", protocol: "http" }];
    const made = trafficEntry(
      {
        ...parts,
        releases: of(
          { ports: [{ name: "api", protocol: "http", appProtocol: "grpc" }], hash: "sha256:new" },
          { ports: http, hash: "sha256:old" },
        ),
        internalPorts: new Map([["api", 1]]),
      },
      [endpoint("new", { api: local(1) }), endpoint("old", { http: local(2) }), endpoint("unknown", { api: local(3) })],
    );
    expect(made.ports[0]?.tracks[0]?.endpoints.map(({ instance, http2 }) => [instance, http2])).toEqual([
      ["new", true],
      ["old", undefined],
      ["unknown", true],
    ]);
  });
  it("publishes TCP ports only", () => {
    expect(entry.ports.map((port) => port.published)).toEqual([undefined, 1883, undefined]);
  });
  it("leads no host and publishes no port that belongs to another component", () => {
    const some = trafficEntry({ ...parts, hosts: new Set(["web.shop.localhost /"]), published: new Set() }, []);
    expect(some.ports.map((port) => [port.hosts.length, port.published])).toEqual([
      [1, undefined],
      [0, undefined],
      [0, undefined],
    ]);
  });
  it("has each instance under each port at its address, with its state and release", () => {
    expect(endpointsOf(entry, "mqtt")).toEqual(["i1 127.0.0.1:2 active", "i2 127.0.0.1:5 draining"]);
    expect(entry.ports[0]?.tracks).toMatchObject([
      { name: "stable", weight: 100, endpoints: [{ releaseHash: "sha256:i1" }, { releaseHash: "sha256:i2" }] },
    ]);
  });
  it("tells drain time and whether the component is meant to be down", () => {
    expect(entry).toMatchObject({ drainTimeout: 7_000, stopped: false, holdFor: 10_000, rules: [] });
    expect(trafficEntry({ ...parts, stopped: true }, []).stopped).toBe(true);
  });
  it("leaves out a port that has no internal port yet, and an instance whose address is not known yet", () => {
    const some = trafficEntry({ ...parts, internalPorts: new Map([["http", 20_001]]) }, [
      endpoint("i1", {}),
      endpoint("i2", { http: local(4) }),
    ]);
    expect(some.ports.map((port) => port.name)).toEqual(["http"]);
    expect(endpointsOf(some, "http")).toEqual(["i2 127.0.0.1:4 active"]);
  });
  it("keeps an instance of the release before when the one port was renamed", () => {
    const renamed = trafficEntry({ ...parts, releases: of({ ports: [{ name: "http", protocol: "http" }] }) }, [
      endpoint("old", { web: local(1) }),
      endpoint("new", { http: local(2) }),
    ]);
    expect(endpointsOf(renamed, "http")).toEqual(["old 127.0.0.1:1 active", "new 127.0.0.1:2 active"]);
  });
  it("guesses nothing when there are several ports", () => {
    expect(endpointsOf(trafficEntry(parts, [endpoint("old", { web: local(1) })]), "http")).toEqual([]);
    expect(
      endpointsOf(
        trafficEntry({ ...parts, releases: of({ ports: [{ name: "http", protocol: "http" }] }) }, [
          endpoint("old", { web: local(1), admin: local(2) }),
        ]),
        "http",
      ),
    ).toEqual([]);
  });
  describe("while another release goes out", () => {
    const before = "sha256:before";
    const old = (id: string, addresses: EntryEndpoint["addresses"], state: EntryEndpoint["state"] = "active"): EntryEndpoint => ({
      ...endpoint(id, addresses, state),
      releaseHash: before,
    });
    const http = { name: "http", protocol: "http" } as const;
    const shape = (entry_: ReturnType<typeof trafficEntry>) =>
      entry_.ports.map((port) => [port.name, port.hosts.map(({ host }) => host), endpointsOf(entry_, port.name)]);
    it("keeps ports and hosts of a release that the wanted one has none of, as long as an instance of it serves", () => {
      const releases = of({ kind: "worker", ports: [], domains: [] }, { hash: before, ports: [http] });
      expect(shape(trafficEntry({ ...parts, releases }, [old("old", { http: local(1) }), endpoint("new", {})]))).toEqual([
        ["http", ["shop.example.org", "web.shop.localhost"], ["old 127.0.0.1:1 active"]],
      ]);
      expect(shape(trafficEntry({ ...parts, releases }, [old("old", { http: local(1) }, "draining"), endpoint("new", {})]))).toEqual([
        ["http", [], ["old 127.0.0.1:1 draining"]],
      ]);
    });
    it("drains a port that is gone from the release, beside those that stay", () => {
      const releases = of({ ports: [http] }, { hash: before, ports: [http, { name: "mqtt", protocol: "tcp", published: 1883 }] });
      expect(
        shape(
          trafficEntry({ ...parts, releases }, [
            old("old", { http: local(1), mqtt: local(2) }, "draining"),
            endpoint("new", { http: local(3) }),
          ]),
        ),
      ).toEqual([
        ["http", ["shop.example.org", "web.shop.localhost"], ["old 127.0.0.1:1 draining", "new 127.0.0.1:3 active"]],
        ["mqtt", [], ["old 127.0.0.1:2 draining"]],
      ]);
    });
    it("serves a renamed port under both names, and its hosts under the new one", () => {
      const releases = of({ ports: [{ ...http, name: "admin" }] }, { hash: before, ports: [http] });
      expect(shape(trafficEntry({ ...parts, releases }, [old("old", { http: local(1) }), endpoint("new", { admin: local(2) })]))).toEqual([
        ["admin", ["shop.example.org", "web.shop.localhost"], ["old 127.0.0.1:1 active", "new 127.0.0.1:2 active"]],
        ["http", [], ["old 127.0.0.1:1 active", "new 127.0.0.1:2 active"]],
      ]);
    });
    it("keeps a domain that the wanted release has not, until nothing before it serves", () => {
      const releases = of({ ports: [http] }, { hash: before, ports: [http], domains: [{ host: "old.example.org" }] });
      const hosts = (state: EntryEndpoint["state"]) =>
        trafficEntry({ ...parts, releases }, [old("old", { http: local(1) }, state)]).ports[0]?.hosts.map(({ host }) => host);
      expect(hosts("active")).toEqual(["shop.example.org", "web.shop.localhost", "old.example.org"]);
      expect(hosts("draining")).toEqual(["shop.example.org", "web.shop.localhost"]);
    });
    it("publishes one port once, whatever the releases call it", () => {
      const releases = of(
        { ports: [{ name: "admin", protocol: "tcp", published: 1883 }] },
        { hash: before, ports: [{ name: "mqtt", protocol: "tcp", published: 1883 }] },
      );
      expect(trafficEntry({ ...parts, releases }, []).ports.map((port) => [port.name, port.published])).toEqual([
        ["admin", 1883],
        ["mqtt", undefined],
      ]);
    });
  });
  it("hashes alike after its way through JSON, and otherwise when anything in it differs", () => {
    const one = [endpoint("i1", { http: local(1) })];
    const base = trafficEntry(parts, one);
    expect(contentHash(JSON.parse(JSON.stringify(base)))).toBe(contentHash(base));
    const others = [
      trafficEntry(parts, []),
      trafficEntry(parts, [endpoint("i1", { http: local(2) })]),
      trafficEntry(parts, [endpoint("i1", { http: local(1) }, "draining")]),
      trafficEntry({ ...parts, stopped: true }, one),
      trafficEntry({ ...parts, hosts: new Set(["web.shop.localhost /"]) }, one),
      trafficEntry({ ...parts, drainTimeout: 1 }, one),
      trafficEntry({ ...parts, internalPorts: new Map([["http", 20_009]]) }, one),
    ];
    expect(new Set([base, ...others].map(contentHash)).size).toBe(8);
  });
});
