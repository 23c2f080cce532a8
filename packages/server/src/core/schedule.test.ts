// When cron components run: time zones and clock changes, and what is made of instants that passed while nobody looked.
import { describe, expect, test } from "vitest";
import type { Schedule } from "@berth/contract/spec.ts";
import { dueInstants, dueRun, nextRun, scheduleProblem } from "./schedule.ts";

const at = (text: string): Date => new Date(text);
const iso = (dates: readonly Date[]): string[] => dates.map((date) => date.toISOString());

describe("nextRun", () => {
  test("is after the instant that is given, in the schedule's time zone", () => {
    expect(nextRun({ cron: "30 3 * * *" }, at("2026-01-01T03:30:00Z"))?.toISOString()).toBe("2026-01-02T03:30:00.000Z");
    expect(nextRun({ cron: "30 3 * * *", timeZone: "Asia/Kolkata" }, at("2026-01-01T00:00:00Z"))?.toISOString()).toBe("2026-01-01T22:00:00.000Z");
  });

  test("comes once a day when clocks change", () => {
    const daily: Schedule = { cron: "30 2 * * *", timeZone: "Europe/Berlin" };
    const days = (from: string): string[] => {
      const found: Date[] = [];
      for (let after = at(from), n = 0; n < 4; n += 1) { after = nextRun(daily, after) ?? after; found.push(after); }
      return iso(found).map((text) => text.slice(0, 10));
    };
    expect(days("2026-03-27T12:00:00Z")).toEqual(["2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"]);
    expect(days("2026-10-23T12:00:00Z")).toEqual(["2026-10-24", "2026-10-25", "2026-10-26", "2026-10-27"]);
  });

  test("knows what is no schedule, and what never comes", () => {
    expect(scheduleProblem({ cron: "30 3 * * *" })).toBeUndefined();
    expect(scheduleProblem({ cron: "61 3 * * *" })).toBeDefined();
    expect(scheduleProblem({ cron: "0 0 30 2 *" })).toBe("it never comes due");
  });
});

describe("dueInstants", () => {
  const hourly: Schedule = { cron: "0 * * * *" };
  test("has the last instant, and those before it that nobody ran", () => {
    expect(dueInstants(hourly, at("2026-01-01T01:00:00Z"), at("2026-01-01T01:00:00Z"))).toEqual({ missed: [], last: at("2026-01-01T01:00:00Z") });
    const { missed, last } = dueInstants(hourly, at("2026-01-01T01:00:00Z"), at("2026-01-01T04:00:30Z"));
    expect({ missed: iso(missed), last: last.toISOString() }).toEqual({ missed: ["2026-01-01T01:00:00.000Z", "2026-01-01T02:00:00.000Z", "2026-01-01T03:00:00.000Z"], last: "2026-01-01T04:00:00.000Z" });
  });

  test("is bounded after a long absence, and still finds the run that can start", () => {
    const { missed, last } = dueInstants({ cron: "* * * * *" }, at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:10Z"));
    expect(missed).toHaveLength(100);
    expect(last.toISOString()).toBe("2026-01-01T00:00:00.000Z");
  });
});

test("a run that is due runs, waits for none, replaces, or is missed", () => {
  const due = at("2026-01-01T01:00:00Z");
  const soon = at("2026-01-01T01:00:59Z");
  expect(dueRun({ cron: "0 * * * *" }, due, soon, [])).toEqual({ do: "run" });
  expect(dueRun({ cron: "0 * * * *" }, due, at("2026-01-01T01:01:01Z"), [])).toEqual({ do: "miss" });
  expect(dueRun({ cron: "0 * * * *", startingDeadline: 600_000 }, due, at("2026-01-01T01:09:00Z"), [])).toEqual({ do: "run" });
  expect(dueRun({ cron: "0 * * * *" }, due, soon, ["a"])).toEqual({ do: "skip" });
  expect(dueRun({ cron: "0 * * * *", overlap: "allow" }, due, soon, ["a"])).toEqual({ do: "run" });
  expect(dueRun({ cron: "0 * * * *", overlap: "replace" }, due, soon, ["a"])).toEqual({ do: "replace", running: ["a"] });
});
