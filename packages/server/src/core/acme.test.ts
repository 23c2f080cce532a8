// Which hosts, when again, and what a refusal means, without an authority.
import { describe, expect, it } from "vitest";
import { namePattern } from "@berth/contract/names.ts";
import { certificateNameOf, hostsToKeep, mayBeProved, pauseAfter, pauseBefore, renewalOf, unprovedCause } from "./acme.ts";

const minute = 60_000;
const day = 86_400_000;

describe("hosts with automatic certificates", () => {
  it("are those that an authority could know, and that no operator's certificate covers", () => {
    const routed = ["b.test", "a.b.test", "a.b.test", "localhost", "x.localhost", "10.0.0.1", "*.b.test", "own.test", "deep.own.test"];
    expect(hostsToKeep(routed, [["own.test", "*.own.test"], ["else.test"]], "http-01")).toEqual(["a.b.test", "b.test"]);
    expect(hostsToKeep(["*.b.test"], [], "dns-01")).toEqual(["*.b.test"]);
    expect(mayBeProved("intranet", "dns-01")).toBe(false);
  });

  it("give their certificates names like any other, two that look the same different ones", () => {
    const hosts = ["a.b", "a-b", "*.b.test", "1.test", "xn--caf-dma.test", `${"x".repeat(63)}.${"y".repeat(63)}.test`, "a.b-"];
    const names = hosts.map(certificateNameOf);
    for (const name of names) expect(name).toMatch(new RegExp(namePattern));
    expect(new Set(names).size).toBe(hosts.length);
  });
});

describe("when it is asked again", () => {
  it("is ever later, and never more often in an hour than authorities allow", () => {
    const pauses = Array.from({ length: 12 }, (_, index) => pauseAfter(index + 1, 0.5));
    expect(pauses).toEqual([...pauses].toSorted((a, b) => a - b));
    expect(pauses.at(-1)).toBe(day);
    let at = 0;
    const times = [0, ...Array.from({ length: 12 }, (_, index) => (at += pauseAfter(index + 1, 0)))];
    for (const from of times) expect(times.filter((time) => time >= from && time < from + 60 * minute).length).toBeLessThanOrEqual(5);
    expect(pauseAfter(1, 1) - pauseAfter(1, 0)).toBe(0.2 * minute);
  });

  it("is at once for the first ones that a crash hid", () => {
    expect([0, 1, 2].map((attempts) => pauseBefore(attempts, 0, 0.5))).toEqual([0, 0, 0]);
    expect([3, 4, 5].map((attempts) => pauseBefore(attempts, 0, 0.5))).toEqual([minute, 5 * minute, 15 * minute]);
    // A failure has its own pause.
    expect(pauseBefore(4, 4, 0.5)).toBe(0);
  });

  it("is at two thirds of a certificate's life, or a little sooner", () => {
    const from = new Date("2026-01-01T00:00:00Z");
    const to = new Date(from.getTime() + 90 * day);
    expect(renewalOf(from, to, 0).getTime() - from.getTime()).toBe(60 * day);
    expect(renewalOf(from, to, 1).getTime() - from.getTime()).toBe(55.5 * day);
  });
});

describe("what an authority says of a host", () => {
  const problem = (type: string) => ({
    type: `urn:ietf:params:acme:error:${type}`,
    detail: "no  good.",
    subproblems: [{ identifier: { value: "a.test" }, detail: "worse" }],
  });
  it.each([
    ["connection", "proof_unreachable"],
    ["tls", "proof_unreachable"],
    ["dns", "proof_name_unknown"],
    ["unauthorized", "proof_wrong"],
    ["incorrectResponse", "proof_wrong"],
    ["rateLimited", "authority_rate_limited"],
    ["caa", "authority_refused"],
  ])("%s is %s, with its own words", (type, code) => {
    const { code: found, params, evidence } = unprovedCause("ca.test", "a.test", problem(type));
    expect(found).toBe(code);
    expect(params).toEqual({ authority: "ca.test", host: "a.test", reason: "no good.; a.test: worse" });
    expect(evidence[0]?.text).toContain(type);
  });
});
