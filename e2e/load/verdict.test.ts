// The judge itself: what is excused, and that coming near a kill in time excuses nothing.
import { expect, test } from "vitest";
import type { Fault } from "./generator.ts";
import { judge, type Kill } from "./verdict.ts";

const fault: Fault = {
  kind: "post",
  target: "web.a.localhost",
  id: "load-1",
  start: 1_000,
  end: 1_100,
  how: "reset",
  detail: "ECONNRESET",
  received: 0,
  reused: true,
  port: 40_001,
};
const router: Kill = { victim: "router", pid: 1, from: 1_050, to: 1_051, connections: [40_001, 40_002] };
const instance: Kill = { victim: "instance", pid: 2, from: 1_050, to: 1_051, instance: "web-abc", target: "web.a.localhost" };
const answered: Fault = { ...fault, how: "status", status: 502, detail: "interrupted" };

const verdictOf = (one: Fault, kill: Kill, reported: Record<string, string> = {}): string => {
  const { interrupted, reconnected, failed, hidden } = judge([one], [kill], new Map(Object.entries(reported)));
  if (failed.length > 0) return "failed";
  if (reconnected.length > 0) return "reconnected";
  return `interrupted ${interrupted.byRouter.length > 0 ? "by router" : "by instance"}${hidden.length > 0 ? ", hidden" : ""}`;
};

test.each<[string, Fault, Kill, Record<string, string>, string]>([
  ["on a connection that the killed router held", fault, router, {}, "interrupted by router"],
  ["on a connection that another router held", { ...fault, port: 40_003 }, router, {}, "failed"],
  ["answered with an error while a router was killed", answered, router, {}, "failed"],
  ["before the kill", { ...fault, end: 1_040 }, router, {}, "failed"],
  ["sent on what the kill had closed", { ...fault, start: 1_200, end: 1_201 }, router, {}, "reconnected"],
  ["sent on a new connection after the kill", { ...fault, start: 1_200, end: 1_201, reused: false }, router, {}, "failed"],
  ["not to be repeated, on the killed instance", answered, instance, { "load-1": "web-abc" }, "interrupted by instance"],
  ["the same, and the edge does not say so", answered, instance, {}, "interrupted by instance, hidden"],
  ["the same, and the edge names another instance", answered, instance, { "load-1": "web-xyz" }, "interrupted by instance, hidden"],
  ["that may be repeated", { ...answered, kind: "get" }, instance, { "load-1": "web-abc" }, "failed"],
  ["of another component", { ...answered, target: "web.b.localhost" }, instance, { "load-1": "web-abc" }, "failed"],
  ["near the kill of something that serves nobody", fault, { ...instance, victim: "agent" }, {}, "failed"],
])("a request %s", (_what, one, kill, reported, verdict) => {
  expect(verdictOf(one, kill, reported)).toBe(verdict);
});

test("what the edge reports as interrupted and no client saw is told", () => {
  expect(judge([], [instance], new Map([["load-9", "web-abc"]])).made).toEqual(["load-9"]);
});
