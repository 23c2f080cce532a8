// Promise 3 on the Docker engine: the same load, the same changes and the same judge as with processes.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { told } from "../load/verdict.ts";
import { loadThroughChanges } from "../load/zero-loss.ts";
import { DockerPlace, missing } from "./place.ts";

describe.skipIf(missing !== undefined)(`the Docker engine${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: DockerPlace;
  beforeAll(async () => {
    place = await DockerPlace.open({ routerLimits: { restFrom: 5 } });
  }, 900_000);
  afterAll(() => place?.[Symbol.asyncDispose](), 300_000);

  test("0 of 20,000 requests fail while everything is released, restarted, scaled, rolled back and upgraded", async () => {
    const { report, streams, faults } = await loadThroughChanges(place.berth, {
      requests: 20_000 * Number(process.env["BERTH_TEST_SCALE"] ?? 1),
      seed: process.env["BERTH_TEST_SEED"] ?? "docker",
      connections: 20,
      processes: 1,
      pause: 30,
      say: (line) => {
        console.log(line);
      },
    });
    expect(told(report.faults)).toBe("");
    expect(faults).toEqual([]);
    expect(streams).toBeGreaterThanOrEqual(6);
  }, 1_200_000);
});
