// When cron components run: time zones and clock changes, and what is made of instants that passed while nobody looked.
import { describe, expect, test } from "vitest";
import type { Schedule } from "@berth/contract/spec.ts";
import { dueInstants, dueRun, nextRun, scheduleProblem } from "./schedule.ts";

const at = (text: string): Date => new Date(text);
const iso = (dates: readonly Date[]): string[] => dates.map((date) => date.toISOString());

describe("nextRun", () => {
  test("is after the instant that is given, in the schedule's time zone", () => {
    expect(nextRun({ cron: "30 3 * * *" }, at("2026-01-01T03:30:00Z"))?.toISOString()).toBe("2026-01-02T03:30:00.000Z");
    expect(nextRun({ cron: "30 3 * * *", timeZone: "Asia/Kolkata" }, at("2026-01-01T00:00:00Z"))?.toISOString()).toBe(
      "2026-01-01T22:00:00.000Z",
    );
  });

  test("comes once a day when clocks change", () => {
    const daily: Schedule = { cron: "30 2 * * *", timeZone: "Europe/Berlin" };
    const days = (from: string): string[] => {
      const found: Date[] = [];
      for (let after = at(from), n = 0; n < 4; n += 1) {
        after = nextRun(daily, after) ?? after;
        found.push(after);
      }
      return iso(found).map((text) => text.slice(0, 10));
    };
    expect(days("2026-03-27T12:00:00Z")).toEqual(["2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"]);
    expect(days("2026-10-23T12:00:00Z")).toEqual(["2026-10-24", "2026-10-25", "2026-10-26", "2026-10-27"]);
  });

  const runs = (schedule: Schedule, from: string, count: number): string[] => {
    const found: Date[] = [];
    for (
      let after = at(from), next = nextRun(schedule, after);
      next !== undefined && found.length < count;
      next = nextRun(schedule, after)
    ) {
      found.push(next);
      after = next;
    }
    return iso(found).map((text) => text.slice(5, 16));
  };

  test("in the hour that is missing runs at the same distance from midnight", () => {
    expect(runs({ cron: "30 2 * * *", timeZone: "Europe/Berlin" }, "2026-03-28T12:00:00Z", 2)).toEqual(["03-29T01:30", "03-30T00:30"]);
  });

  test("of a time of day comes once in the hour that is repeated", () => {
    expect(runs({ cron: "30 2 * * *", timeZone: "Europe/Berlin" }, "2026-10-24T12:00:00Z", 2)).toEqual(["10-25T00:30", "10-26T01:30"]);
  });

  test("of every hour or half hour knows no gap and no repetition when clocks change", () => {
    expect(runs({ cron: "0 * * * *", timeZone: "Europe/Berlin" }, "2026-10-24T23:30:00Z", 4)).toEqual([
      "10-25T00:00",
      "10-25T01:00",
      "10-25T02:00",
      "10-25T03:00",
    ]);
    expect(runs({ cron: "*/30 * * * *", timeZone: "Europe/Berlin" }, "2026-10-25T00:00:20Z", 4)).toEqual([
      "10-25T00:30",
      "10-25T01:00",
      "10-25T01:30",
      "10-25T02:00",
    ]);
    expect(runs({ cron: "0 * * * *", timeZone: "Europe/Berlin" }, "2026-03-28T23:30:00Z", 3)).toEqual([
      "03-29T00:00",
      "03-29T01:00",
      "03-29T02:00",
    ]);
    expect(runs({ cron: "15 * * * *", timeZone: "Australia/Lord_Howe" }, "2026-04-04T13:00:00Z", 3)).toEqual([
      "04-04T13:15",
      "04-04T14:15",
      "04-04T15:45",
    ]);
  });

  test("is never before the instant that is given, wherever clocks go back just then", () => {
    for (const timeZone of ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"]) {
      for (const cron of ["30 2 * * *", "15 1,2,3 * * *", "*/20 * * * *", "45 0 1 1 *"]) {
        for (const from of ["2026-04-04T13:00:00Z", "2026-10-24T23:00:00Z", "2026-11-01T02:00:00Z"]) {
          for (let step = 0; step < 8; step += 1) {
            const after = new Date(at(from).getTime() + step * 30 * 60_000 + 20_000);
            const next = nextRun({ cron, timeZone }, after);
            expect(
              next !== undefined && next > after,
              `${cron} in ${timeZone} after ${after.toISOString()}: ${String(next?.toISOString())}`,
            ).toBe(true);
          }
        }
      }
    }
  });

  test("of a time of day, asked for within the repeated hour, is the next one that has not been", () => {
    expect(runs({ cron: "30 2 * * *", timeZone: "Europe/Berlin" }, "2026-10-25T01:10:00Z", 1)).toEqual(["10-26T01:30"]);
    expect(runs({ cron: "15 2,3 * * *", timeZone: "Europe/Berlin" }, "2026-10-25T01:10:00Z", 1)).toEqual(["10-25T02:15"]);
  });

  test("knows leap days, last days, weekdays and ranges", () => {
    expect(runs({ cron: "0 0 29 2 *" }, "2026-01-01T00:00:00Z", 2)).toEqual(["02-29T00:00", "02-29T00:00"]);
    expect(runs({ cron: "0 0 31 * *" }, "2026-01-31T00:00:00Z", 2)).toEqual(["03-31T00:00", "05-31T00:00"]);
    expect(runs({ cron: "0 9 * * 1-5", timeZone: "Asia/Shanghai" }, "2026-03-06T00:00:00Z", 2)).toEqual(["03-06T01:00", "03-09T01:00"]);
    expect(runs({ cron: "0 0 13 * 5" }, "2026-02-06T00:00:00Z", 3)).toEqual(["02-13T00:00", "02-20T00:00", "02-27T00:00"]);
  });

  test.each<[string, string | undefined, string | undefined]>([
    ["30 3 * * *", undefined, undefined],
    ["  0 0 1 JAN MON ", "Europe/Berlin", undefined],
    ["0 0 29 2 *", undefined, undefined],
    ["0 0 * * 7", undefined, undefined],
    ["61 3 * * *", undefined, "Invalid value for minute: 61"],
    ["*/0 * * * *", undefined, "Syntax error, illegal stepping: 0"],
    ["a b c d e", undefined, "configuration entry 1 (a) contains illegal characters."],
    ["0 0 30 2 *", undefined, "it never comes due"],
    ["0 0 31 4 *", undefined, "it never comes due"],
    ["* * * * * *", undefined, "it has 6 fields instead of five: minute hour day-of-month month day-of-week"],
    ["@annually", undefined, "it has 1 field instead of five: minute hour day-of-month month day-of-week"],
    ["2026-01-01T00:00:00", undefined, "it has 1 field instead of five: minute hour day-of-month month day-of-week"],
    ["* * * * *", "Mars/Base", "Mars/Base is not an IANA time zone"],
    ["* * * * *", "", " is not an IANA time zone"],
  ])("%j in %s: %s", (cron, timeZone, problem) => {
    expect(scheduleProblem({ cron, ...(timeZone === undefined ? {} : { timeZone }) })).toBe(problem);
  });
});

describe("dueInstants", () => {
  const hourly: Schedule = { cron: "0 * * * *" };
  test("has the last instant, and those before it that nobody ran", () => {
    expect(dueInstants(hourly, at("2026-01-01T01:00:00Z"), at("2026-01-01T01:00:00Z"))).toEqual({
      missed: [],
      last: at("2026-01-01T01:00:00Z"),
    });
    const { missed, last } = dueInstants(hourly, at("2026-01-01T01:00:00Z"), at("2026-01-01T04:00:30Z"));
    expect({ missed: iso(missed), last: last.toISOString() }).toEqual({
      missed: ["2026-01-01T01:00:00.000Z", "2026-01-01T02:00:00.000Z", "2026-01-01T03:00:00.000Z"],
      last: "2026-01-01T04:00:00.000Z",
    });
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
