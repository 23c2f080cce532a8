import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import type { WorkStart } from "../work.ts";
import { openWorkThread, type WorkThread } from "./work-link.ts";

const folder = mkdtempSync(join(tmpdir(), "berth-work-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const doors = (port: number) => ({ router: { host: "127.0.0.1", port }, https: undefined });
const counted = { row: vi.fn(), repair: vi.fn(), difference: vi.fn(), unknownObjects: vi.fn() };
let threads = 0;

/** A thread that does this, with `port` for what it says. */
function run(code: string): WorkThread {
  threads += 1;
  const file = join(folder, `${String(threads)}.mjs`);
  writeFileSync(file, `import { parentPort as port } from "node:worker_threads";\n${code}\n`);
  return openWorkThread(file).start({ cluster: "local", doors: doors(1) } as WorkStart, counted);
}

/** Counts its start as a row and each change of its doors as a repair, and stops when it is told to. */
const obedient = `port.on("message", (told) => port.postMessage("start" in told ? { count: "row", of: [told.start.cluster, "done"] }
  : "doors" in told ? { count: "repair", of: [String(told.doors.router.port)] } : { stopped: true }));`;

describe("the thread that works", () => {
  it("gets what it needs, and what it counts is counted", async () => {
    const work = run(obedient);
    await work.stop();
    expect(counted.row.mock.calls).toEqual([["local", "done"]]);
  });

  it("is told of doors once for each change", async () => {
    counted.repair.mockClear();
    const work = run(obedient);
    for (const port of [1, 1, 2, 2, 3]) work.setDoors(doors(port));
    await work.stop();
    expect(counted.repair.mock.calls.flat()).toEqual(["2", "3"]);
  });

  it("is missed when it does not start", async () => {
    await expect(run('throw new Error("no keys")').lost).rejects.toThrow("no keys");
    await expect(run('port.once("message", async () => { throw new Error("no database"); });').lost).rejects.toThrow("no database");
    await expect(run("process.exit(3);").lost).rejects.toThrow("ended by itself, with 3");
  });

  it("is missed when it ends without having been asked to", async () => {
    const failed = run(`${obedient} setTimeout(() => { throw new Error("a bug"); }, 20);`);
    await expect(failed.lost).rejects.toThrow("a bug");
    const ended = run(`${obedient} setTimeout(() => process.exit(0), 20);`);
    await expect(ended.lost).rejects.toThrow("ended by itself, with 0");
  });

  it("that dies while it stops keeps nobody waiting", async () => {
    const work = run('port.on("message", (told) => { if ("stop" in told) throw new Error("too late"); });');
    await work.stop();
  });
});
