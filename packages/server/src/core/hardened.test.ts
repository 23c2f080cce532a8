import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { ownProcess } from "./hardened.ts";

it("a process of Berth's own writes no core dump, has one heap, and gets its arguments as they are", () => {
  const { command, args } = ownProcess(process.execPath, [
    "-e",
    'const { execFileSync } = require("node:child_process"); console.log(JSON.stringify([execFileSync("/bin/sh", ["-c", "ulimit -S -c"], { encoding: "utf8" }).trim(), process.env.MALLOC_ARENA_MAX, ...process.argv.slice(1)]))',
    "a b",
    "$HOME",
  ]);
  expect(JSON.parse(execFileSync(command, args, { encoding: "utf8" }))).toEqual(["0", "1", "a b", "$HOME"]);
});
