import { expect, test } from "vitest";
import { wantedHost } from "./hosts.ts";

const installation = "0f8fad5b-d9cb-469f-a165-70867728950e";
const pem = "-----BEGIN CERTIFICATE-----";
const remote = { name: "fra1", endpoint: "tcp://fra1.example.com:2376", ca: pem, cert: pem, key: pem, domain: "fra1.example.com" };

test("fills in what was left out, apart from other installations on the same host", () => {
  expect(wantedHost(remote, installation)).toEqual({
    host: {
      tls: { ca: pem, cert: pem, key: pem },
      domain: "fra1.example.com",
      facts: {
        endpoint: "tcp://fra1.example.com:2376",
        home: "/var/lib/berth-edge/0f8fad5b-fra1",
        socket: "/var/run/docker.sock",
        httpPort: 80,
        httpsPort: 443,
      },
    },
  });
});

test("takes a daemon on this machine without TLS and without a domain", () => {
  for (const endpoint of ["tcp://127.0.0.1:2375", "tcp://localhost:2375", "tcp://[::1]:2375"])
    expect(wantedHost({ name: "near", endpoint }, installation)).toMatchObject({ host: { domain: "localhost", tls: undefined } });
  expect(wantedHost({ name: "near", endpoint: "unix:///run/other.sock" }, installation)).toMatchObject({
    host: { facts: { socket: "/run/other.sock" } },
  });
});

test("makes services on a host only when that is asked for", () => {
  const swarmOf = (given: object): unknown => {
    const wanted = wantedHost({ ...remote, ...given }, installation);
    return "host" in wanted ? wanted.host.facts.swarm : wanted.refusal;
  };
  expect([swarmOf({}), swarmOf({ swarm: false }), swarmOf({ swarm: true })]).toEqual([undefined, undefined, true]);
});

test.each([
  ["no TLS", { ...remote, ca: undefined, cert: undefined, key: undefined }, "without TLS"],
  ["a certificate without its key", { ...remote, key: undefined }, "belong together"],
  ["no domain", { ...remote, domain: undefined }, "no domain"],
  ["one port for both", { ...remote, httpPort: 8443, httpsPort: 8443 }, "same port"],
  ["networks that cannot be", { ...remote, networks: { base: "10.0.0.1/8", size: 22 } }, "cannot be cut"],
])("refuses %s", (_what, given, words) => {
  const { domain, ca, cert, key, ...rest } = given as typeof remote;
  const present = Object.fromEntries(Object.entries({ domain, ca, cert, key }).filter(([, value]) => value !== undefined));
  const wanted = wantedHost({ ...rest, ...present }, installation);
  expect("refusal" in wanted && wanted.refusal.reason).toContain(words);
});
