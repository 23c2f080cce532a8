// Gateways as clusters show them: where they take requests, and when they take none.
import { describe, expect, it } from "vitest";
import { addressIn, troubleOf, type Gateway } from "./gateway.ts";

const gateway = (spec: Gateway["spec"], status?: Gateway["status"]): Gateway => ({
  metadata: { namespace: "infra", name: "public" },
  ...(spec === undefined ? {} : { spec }),
  ...(status === undefined ? {} : { status }),
});
const listeners = [
  { name: "secure", port: 443, protocol: "HTTPS" },
  { name: "web", port: 8080, protocol: "HTTP" },
];

describe("a gateway", () => {
  it("takes requests at its status's first address, on its HTTP listener", () => {
    expect(addressIn(gateway({ listeners }, { addresses: [{ type: "IPAddress", value: "10.0.0.7" }] }))).toEqual({
      host: "10.0.0.7",
      port: 8080,
    });
  });

  it("says no address without one, or without an HTTP listener", () => {
    expect(addressIn(gateway({ listeners }))).toBeUndefined();
    expect(addressIn(gateway({ listeners: listeners.slice(0, 1) }, { addresses: [{ value: "10.0.0.7" }] }))).toBeUndefined();
    expect(addressIn(gateway(undefined))).toBeUndefined();
  });

  it("takes no routes until it is programmed, and says why", () => {
    const programmed = (status: string, message = ""): Gateway =>
      gateway({ listeners }, { conditions: [{ type: "Programmed", status, reason: "Pending", message }] });
    expect(troubleOf(programmed("True"))).toBeUndefined();
    expect(troubleOf(programmed("False", "no address was given"))).toBe("its gateway infra/public is not ready: no address was given");
    expect(troubleOf(programmed("False"))).toBe("its gateway infra/public is not ready: Pending");
    expect(troubleOf(gateway({ listeners }))).toBe("its gateway infra/public is not ready: no controller has taken it");
    expect(troubleOf(undefined)).toBe("its gateway is not there any more");
  });
});
