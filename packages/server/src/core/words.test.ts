import { describe, expect, it } from "vitest";
import { duration, measured, times } from "./words.ts";

describe("a duration", () => {
  it.each([
    [0, "0 ms"],
    [250, "250 ms"],
    [999, "999 ms"],
    [999.7, "1.0 s"],
    [4_240, "4.2 s"],
    [9_949, "9.9 s"],
    [9_950, "10 s"],
    [59_999, "60 s"],
    [90_000, "90 s"],
    [120_000, "2 min"],
    [3_600_000, "60 min"],
    [7_200_000, "2 h"],
    [7 * 86_400_000, "7 days"],
  ])("of %d ms is told as %s", (ms, text) => {
    expect(duration(ms)).toBe(text);
  });
});

describe("what a run took", () => {
  it.each([
    [0, "0 ms"],
    [999, "999 ms"],
    [1_000, "1.0 s"],
    [31_420, "31.4 s"],
    [89_900, "89.9 s"],
    [90_000, "2 min"],
    [5_399_999, "90 min"],
    [7_200_000, "2 h"],
  ])("of %d ms is told as %s", (ms, text) => {
    expect(measured(ms)).toBe(text);
  });
});

describe("how often something was", () => {
  it.each([
    [1, "once"],
    [2, "2 times"],
  ])("%d is told as %s", (count, text) => {
    expect(times(count)).toBe(text);
  });
});
