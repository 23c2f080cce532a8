// No spelling of an address gets past the rules.
import { describe, expect, it } from "vitest";
import { refusedAddress, refusedHost } from "./egress.ts";

const strict = { allowLoopback: false };

describe("egress", () => {
  it.each([
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::",
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "::127.0.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "fd00:ec2::254",
    "not-an-address",
  ])("refuses %s", (address) => {
    expect(refusedAddress(address, strict)).toBeDefined();
  });
  it.each(["192.0.2.7", "10.1.2.3", "192.168.1.1", "2001:db8::1", "::ffff:10.0.0.1", "fd12:3456::1"])(
    "lets %s through: a team's own server is often private",
    (address) => {
      expect(refusedAddress(address, strict)).toBeUndefined();
    },
  );
  it.each([
    "localhost",
    "LOCALHOST.",
    "git.localhost",
    "repo.default.svc",
    "kubernetes.default.svc.cluster.local",
    "metadata.google.internal",
    "127.0.0.1",
  ])("refuses the host %s", (host) => {
    expect(refusedHost(host, strict)).toBeDefined();
  });
  it("lets loopback through when the operator allows it, and the link-local never", () => {
    expect(refusedHost("localhost", { allowLoopback: true })).toBeUndefined();
    expect(refusedAddress("::ffff:127.0.0.1", { allowLoopback: true })).toBeUndefined();
    expect(refusedAddress("169.254.169.254", { allowLoopback: true })).toBeDefined();
  });
  it("lets ordinary names through to be resolved", () => {
    expect(refusedHost("git.corp.internal", strict)).toBeUndefined();
    expect(refusedHost("example.com", strict)).toBeUndefined();
  });
});
