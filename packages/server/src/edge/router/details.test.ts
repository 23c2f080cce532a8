// Who is told what is wrong behind an error page: a developer at this machine, and nobody who may have come from outside.
import { expect, it } from "vitest";
import { mayKnow } from "./details.ts";

const local = { host: "web.shop.localhost", remote: "127.0.0.1", headers: {} };

it.each([
  ["this machine, by IPv4", local, true],
  ["this machine, by IPv6", { ...local, remote: "::1" }, true],
  ["localhost itself", { ...local, host: "localhost" }, true],
  ["another machine", { ...local, remote: "192.0.2.1" }, false],
  ["another loopback address, where containers and proxies may be", { ...local, remote: "127.0.0.2" }, false],
  ["a public name", { ...local, host: "shop.example.com" }, false],
  ["a name that only looks local", { ...local, host: "web.notlocalhost" }, false],
  ["no name", { ...local, host: "" }, false],
  ["a proxy (X-Forwarded-For)", { ...local, headers: { "x-forwarded-for": "203.0.113.1" } }, false],
  ["a proxy (Forwarded)", { ...local, headers: { forwarded: "for=203.0.113.1" } }, false],
  ["a proxy (Via)", { ...local, headers: { via: "1.1 tunnel" } }, false],
])("details for %s", (_name, asker, expected) => {
  expect(mayKnow("local", asker)).toBe(expected);
  expect(mayKnow("always", asker)).toBe(true);
  expect(mayKnow("never", asker)).toBe(false);
});
