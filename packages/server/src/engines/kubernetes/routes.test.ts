// A traffic entry as Services and HTTPRoutes: names, weights, rules and pins.
import { expect, it } from "vitest";
import type { TrafficEntry } from "../traffic.ts";
import { mark } from "./names.ts";
import { httpRoutesOf, servicesOf, type RouteOrder } from "./routes.ts";

const endpoint = (instance: string, releaseHash: string, state: "active" | "draining" = "active") => ({
  instance,
  releaseHash,
  host: "10.0.0.1",
  port: 8080,
  state,
});
const entry: TrafficEntry = {
  ref: { stack: "shop", component: "web" },
  ports: [
    {
      name: "http",
      protocol: "http",
      hosts: [
        { host: "b.example.com", path: "/" },
        { host: "a.example.com", path: "/" },
        { host: "a.example.com", path: "/docs" },
      ],
      internal: 20_000,
      inside: { host: "", port: 8080 },
      tracks: [
        { name: "stable", weight: 90, endpoints: [endpoint("web--a-1", "sha256:one"), endpoint("web--a-2", "sha256:gone", "draining")] },
        { name: "candidate", weight: 10, endpoints: [endpoint("web--b-1", "sha256:two")] },
      ],
    },
    { name: "admin-console-of-it", protocol: "tcp", hosts: [], internal: 20_001, inside: { host: "", port: 9000 }, tracks: [] },
  ],
  rules: [
    { conditions: [{ in: "header", name: "x-tester", match: "prefix", value: "a.b" }], track: "candidate" },
    { conditions: [{ in: "cookie", name: "who", match: "present", value: "" }], track: "nowhere" },
  ],
  holdFor: 10_000,
  drainTimeout: 10_000,
  stopped: false,
};
const order: RouteOrder = {
  installation: "inst",
  entry,
  gateway: { namespace: "infra", name: "public", section: "web" },
  stable: "web",
  pinOf: (hash) => `pin-${hash}`,
  releaseOf: (hash) => ({ "sha256:one": 1, "sha256:two": 2 })[hash],
};

it("leads to each track, and to each release that is there, with the ports of the component", () => {
  const services = servicesOf(order);
  expect(services.map(({ metadata, spec }) => [metadata.name, spec.selector[mark.track], spec.selector[mark.release]])).toEqual([
    ["web", "stable", undefined],
    ["web--candidate", "candidate", undefined],
    ["web--r1", undefined, "1"],
    ["web--r2", undefined, "2"],
  ]);
  for (const { spec } of services) {
    expect(spec.selector).toMatchObject({ [mark.stack]: "shop", [mark.component]: "web", [mark.role]: "instance", [mark.serving]: "yes" });
    expect(spec.ports.map(({ port }) => port)).toEqual([8080, 9000]);
    // Names of ports are IANA's.
    expect(spec.ports.every(({ name }) => /^[a-z0-9-]{1,15}$/.test(name))).toBe(true);
  }
});

it("has a route for each path, with its hosts, the gateway, pins before rules before weights", () => {
  const [main, docs, ...more] = httpRoutesOf(order);
  expect(more).toEqual([]);
  expect(main).toMatchObject({
    metadata: { namespace: "berth-shop", name: "web--http" },
    spec: { parentRefs: [{ namespace: "infra", name: "public", sectionName: "web" }], hostnames: ["a.example.com", "b.example.com"] },
  });
  expect(docs?.spec.hostnames).toEqual(["a.example.com"]);
  expect(docs?.metadata.name).toMatch(/^web--http-[0-9a-f]{8}$/);
  const rules = main?.spec.rules ?? [];
  expect(rules.map(({ backendRefs }) => backendRefs)).toEqual([
    [{ name: "web--r1", port: 8080 }],
    [{ name: "web--r2", port: 8080 }],
    [{ name: "web--candidate", port: 8080 }],
    [
      { name: "web", port: 8080, weight: 90 },
      { name: "web--candidate", port: 8080, weight: 10 },
    ],
  ]);
  expect(rules[0]).toMatchObject({
    matches: [{ path: { type: "PathPrefix", value: "/" }, headers: [{ type: "Exact", name: "x-berth-probe", value: "pin-sha256:one" }] }],
    // The program never sees the pin, and the release is told by the rule that was followed.
    filters: [
      { type: "RequestHeaderModifier", requestHeaderModifier: { remove: ["x-berth-probe"] } },
      { type: "ResponseHeaderModifier", responseHeaderModifier: { set: [{ name: "x-berth-release", value: "sha256:one" }] } },
    ],
  });
  expect(rules[2]?.matches).toEqual([
    { path: { type: "PathPrefix", value: "/" }, headers: [{ type: "RegularExpression", name: "x-tester", value: String.raw`a\.b.*` }] },
  ]);
});

it("leads nowhere what has no port, and keeps a host without instances", () => {
  expect(servicesOf({ ...order, entry: { ...entry, ports: [] } })).toEqual([]);
  expect(httpRoutesOf({ ...order, entry: { ...entry, ports: [] } })).toEqual([]);
  const [port] = entry.ports;
  const empty = { ...entry, ports: port === undefined ? [] : [{ ...port, tracks: [] }] };
  expect(httpRoutesOf({ ...order, entry: empty })[0]?.spec.rules.at(-1)?.backendRefs).toEqual([{ name: "web", port: 8080 }]);
});
