import fc from "fast-check";
import { expect, test } from "vitest";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "./units.ts";

test.each([
  ["10s", 10_000],
  ["1m30s", 90_000],
  ["1h", 3_600_000],
  ["1.5s", 1500],
  ["300ms", 300],
  ["0", 0],
  ["0s", 0],
  ["1us", 1],
  ["1500us", 2],
  ["2d", 172_800_000],
  ["1w", 604_800_000],
  [".5m", 30_000],
  ["10", undefined],
  ["", undefined],
  ["-5s", undefined],
  ["1x", undefined],
  ["s", undefined],
  ["1s ", undefined],
  ["1 s", undefined],
  ["constructor", undefined],
])("duration %s is %s ms", (text, expected) => expect(parseDuration(text)).toBe(expected));

test.each([
  ["512m", 536_870_912],
  ["1g", 1_073_741_824],
  ["1GiB", 1_073_741_824],
  ["1gb", 1_073_741_824],
  ["1.5k", 1536],
  ["100", 100],
  ["100b", 100],
  ["2 MB", 2_097_152],
  ["0", 0],
  ["", undefined],
  ["m", undefined],
  ["-1m", undefined],
  ["1mx", undefined],
  ["1bb", undefined],
  ["99999999p", undefined],
])("size %s is %s bytes", (text, expected) => expect(parseBytes(text)).toBe(expected));

test("what is written is read back exactly", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 604_800_000 }), (value) => {
      expect(parseDuration(formatDuration(value))).toBe(value);
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (value) => {
      expect(parseBytes(formatBytes(value))).toBe(value);
    }),
  );
});
