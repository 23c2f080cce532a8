// A machine's tools, found by real programs: what one of them did not say in time is asked again.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findTool } from "./tools.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-tools-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

it("a tool that a busy machine let answer too late is there once the machine is not", async () => {
  const quiet = join(folder, "quiet");
  const program = join(folder, "gradle");
  writeFileSync(program, `#!/bin/sh\n[ -e ${quiet} ] || exec sleep 600\necho Gradle 8.5\n`);
  chmodSync(program, 0o755);
  const find = () => findTool("gradle", "*", { path: [folder], usual: [], patience: 1_000 });
  expect(await find()).toMatchObject({ failure: { code: "tool_missing" } });
  writeFileSync(quiet, "");
  await expect.poll(find).toEqual({ found: { name: "gradle", path: program, version: "8.5" } });
});
