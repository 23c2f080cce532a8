// A plan as people read it: what waits for the next release is named, and no value is needed to name it.
import { expect, test } from "vitest";
import { painter } from "../output/colour.ts";
import { aPlan } from "../testing/objects.ts";
import { planLines } from "./planview.ts";

const [base] = aPlan().changes;
if (base === undefined) throw new Error("a plan has changes");
const built = { context: ".", source: `sha256:${"a".repeat(64)}`, known: true, summary: ["Project: Node.js"] };
const lines = (over: Parameters<typeof aPlan>[0]): string[] => planLines(aPlan(over), painter(false)).map((line) => line.trim());

test("names config and secrets that the next release would pick up", () => {
  const told = lines({
    changes: [
      {
        ...base,
        action: "update",
        build: built,
        config: [
          { name: "NEW", change: "added" },
          { name: "OLD", change: "removed" },
          { name: "SAME", change: "changed" },
        ],
        secrets: [
          { variable: "TOKEN", secret: "token", change: "changed", from: 1, to: 2 },
          { variable: "A", secret: "a", change: "added", to: 1 },
          { variable: "B", secret: "b", change: "removed", from: 3 },
        ],
      },
    ],
  });
  expect(told.slice(2, 8)).toEqual([
    "+ config NEW is new",
    "- config OLD was removed",
    "~ config SAME was changed",
    "~ secret token (as TOKEN) version 1 -> 2",
    "+ secret a (as A) is new",
    "- secret b (as B) was removed",
  ]);
});

test("tells secrets that applying sets, and commands that run with the release", () => {
  const told = lines({
    secrets: { create: ["password"], change: ["token"], generate: ["session-key"] },
    notes: [
      { code: "release_command", params: { command: "npm run migrate", components: "web" } },
      { code: "postdeploy_command", params: { command: "npm run seed", component: "web" } },
    ],
  });
  expect(told).toEqual(
    expect.arrayContaining([
      "+ secret password",
      "~ secret token gets the value of the Compose file",
      "+ secret session-key, made at random",
      "note: `npm run migrate` runs once, before the new release of web starts; if it fails, nothing changes.",
      "note: `npm run seed` runs once, after the first release of web.",
    ]),
  );
});

test("says why an update without a difference is one", () => {
  const again = "is not live as it is wanted: it is released again";
  expect(lines({ changes: [{ ...base, action: "update", build: built }] })).toContain(again);
  expect(lines({ changes: [{ ...base, action: "update", build: { ...built, known: false } }] })).not.toContain(again);
  expect(lines({ changes: [{ ...base, action: "unchanged", build: built }] })).not.toContain(again);
});
