// A wall clock that is set must not be taken for time that went by.
import { expect, it } from "vitest";
import { ClockWatch } from "./clockwatch.ts";

const hour = 3_600_000;

function clocks() {
  const at = { wall: 1_000_000_000_000, steady: 0 };
  const watch = new ClockWatch(
    () => at.wall,
    () => at.steady,
  );
  const pass = (ms: number): void => {
    at.wall += ms;
    at.steady += ms;
  };
  const waited = (since: number): number => at.wall - watch.from(since);
  return { at, watch, pass, waited };
}

it("counts as the wall clock does while nobody sets it, also over an hour and with a slow correction", () => {
  const { at, watch, pass, waited } = clocks();
  const began = at.wall;
  pass(hour);
  expect(waited(began)).toBe(hour);
  at.wall += 400;
  pass(1_000);
  expect(waited(began)).toBe(hour + 1_400);
  expect(watch.look()).toBe(0);
});

it.each([hour, -hour])("counts from a jump of %d ms on, and what begins after it from its beginning", (jump) => {
  const { at, watch, pass, waited } = clocks();
  const began = at.wall;
  pass(2_000);
  expect(waited(began)).toBe(2_000);
  at.wall += jump;
  expect(watch.look()).toBe(jump);
  pass(3_000);
  expect(waited(began)).toBe(3_000);
  const later = at.wall;
  pass(1_000);
  expect(waited(later)).toBe(1_000);
  expect(watch.look()).toBe(0);
  // And back again.
  at.wall -= jump;
  pass(500);
  expect(waited(began)).toBeLessThanOrEqual(500);
  expect(waited(later)).toBeLessThanOrEqual(500);
});

it("takes what another process wrote ahead of this clock for what begins now", () => {
  const { at, pass, waited } = clocks();
  pass(1_000);
  expect(waited(at.wall + hour)).toBe(0);
});
