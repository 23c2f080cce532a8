// Lines on their way from processes to a follower while another process writes without end: none is lost, the disk stays bounded, and nobody waits for the
// other. The shortened form of `npm run bench:logs`.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flood } from "../bench/logs/measure.ts";
import { TestBerth } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
}, 180_000);
afterAll(() => berth?.stop(), 180_000);

describe("a process that writes more log than is kept", () => {
  it("fills no disk, and costs the others neither lines nor time", { timeout: 300_000 }, async () => {
    const found = await flood(
      berth,
      "logs",
      { name: "loud", replicas: 1, rate: undefined, lines: 60_000, bytes: 1000 },
      { name: "quiet", replicas: 4, rate: 500, lines: 5_000, bytes: 100 },
      { warmup: 5_000, patience: 240_000 },
    );
    expect(found.beside).toMatchObject({ lines: 20_000, lost: 0, wrong: 0 });
    // Ten files of 5 MiB, and what one reading of the pipe adds.
    expect(found.kept).toBeLessThan(54e6);
    // Measured without other work these are below 100 and 10.
    expect(found.beside.p99).toBeLessThan(5_000);
    expect(found.beside.stalled).toBeLessThan(5_000);
  });
});
