// Handing over, alone: what is left when it fails.
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { handOver } from "./handover.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-handover-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it("has ended the next edge for good before the one that goes on takes its lock back", async () => {
  const entry = join(folder, "next.mjs");
  const pidFile = join(folder, "pid");
  await writeFile(
    entry,
    `import { writeFileSync } from "node:fs";
writeFileSync(${JSON.stringify(pidFile)}, String(process.pid));
process.send({ type: "prepared" });
setInterval(() => undefined, 1000);
`,
  );
  const failing = handOver({
    program: { node: process.execPath, entry },
    configFile: join(folder, "none.json"),
    router: { host: "127.0.0.1", port: 1 },
    sockets: [],
    ready: [],
    letGo: () => Promise.reject(new Error("the disk is full")),
  });
  // Looked at in the very turn in which it fails.
  const left = failing.then(
    () => undefined,
    (error: Error) => [error.message, existsSync(join("/proc", readFileSync(pidFile, "utf8")))],
  );
  expect(await left).toEqual(["the disk is full", false]);
});
