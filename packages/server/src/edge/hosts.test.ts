// Guarantees of the way from host and path to a component.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { absoluteTarget, hasPrefix, hostName, HostTable } from "./hosts.ts";

describe("HostTable", () => {
  const table = new HostTable([
    { host: "shop.example.org", path: "/", target: "web" },
    { host: "shop.example.org", path: "/api", target: "api" },
    { host: "shop.example.org", path: "/api/v2/", target: "api2" },
    { host: "*.example.org", path: "/", target: "wild" },
    { host: "*.deep.example.org", path: "/", target: "deep" },
    { host: "only.example.org", path: "/app", target: "app" },
    { host: "shop.example.org", path: "/api/", target: "thief" },
  ]);

  it("prefers the exact host, then the longest wildcard; within one the longest path by whole segments", () => {
    expect(table.find("shop.example.org", "/")).toBe("web");
    expect(table.find("shop.example.org", "/api?x=1")).toBe("api");
    expect(table.find("shop.example.org", "/apis")).toBe("web");
    expect(table.find("shop.example.org", "/api/v2")).toBe("api2");
    expect(table.find("shop.example.org", "/api/v2/users")).toBe("api2");
    expect(table.find("other.example.org", "/api")).toBe("wild");
    expect(table.find("a.b.example.org", "/")).toBe("wild");
    expect(table.find("x.deep.example.org", "/")).toBe("deep");
    expect(table.find("only.example.org", "/app/x")).toBe("app");
    expect(table.find("only.example.org", "/else")).toBe("wild");
    expect(table.find("example.org", "/")).toBeUndefined();
    expect(table.find("", "/")).toBeUndefined();
  });

  it("gives an established route to nobody else", () => {
    expect(table.find("shop.example.org", "/api")).toBe("api");
  });

  it("agrees with a plain search over all routes", () => {
    const label = fc.constantFrom("a", "b", "*");
    const routes = fc.array(
      fc.record({
        host: fc
          .tuple(label, label, fc.constant("org"))
          .map(([x, y, z]) => (x === "*" ? `*.${y === "*" ? "b" : y}.${z}` : `${x}.${y === "*" ? "a" : y}.${z}`)),
        path: fc.constantFrom("/", "/x", "/x/y", "/xy"),
        target: fc.nat(),
      }),
      { maxLength: 8 },
    );
    const hosts = fc.constantFrom("a.a.org", "a.b.org", "b.b.org", "c.a.org", "d.c.b.org");
    const paths = fc.constantFrom("/", "/x", "/x/", "/x/y/z", "/xy", "/xyz", "/x?y");
    fc.assert(
      fc.property(routes, hosts, paths, (all, host, path) => {
        const fits = (route: { host: string; path: string }): boolean =>
          (route.host.startsWith("*.") ? host.endsWith(route.host.slice(1)) && host.length > route.host.length - 1 : host === route.host) &&
          hasPrefix(path, route.path === "/" ? "" : route.path);
        const rank = (route: { host: string; path: string }): number =>
          (route.host.startsWith("*.") ? 0 : 1_000_000) + route.host.length * 1000 + route.path.length;
        const best = all
          .filter(fits)
          .reduce<(typeof all)[number] | undefined>(
            (found, route) => (found === undefined || rank(route) > rank(found) ? route : found),
            undefined,
          );
        expect(new HostTable(all).find(host, path)).toBe(best?.target);
      }),
    );
  });
});

describe("request targets", () => {
  it("take the host from the authority", () => {
    expect(hostName("Shop.Example.org:8080")).toBe("shop.example.org");
    expect(hostName("shop.example.org.")).toBe("shop.example.org");
    expect(hostName("[::1]:80")).toBe("[::1]");
    expect(hostName("[::1]")).toBe("[::1]");
  });

  it("understand the absolute form", () => {
    expect(absoluteTarget("http://A.example:81/p?q")).toEqual({ authority: "A.example:81", path: "/p?q" });
    expect(absoluteTarget("http://a.example?q")).toEqual({ authority: "a.example", path: "/?q" });
    expect(absoluteTarget("http://user:pw@a.example/")).toEqual({ authority: "a.example", path: "/" });
    expect(absoluteTarget("/p")).toBeUndefined();
  });
});
