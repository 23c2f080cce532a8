// What every engine does alike whose place decides by itself how many instances there are: that is one's business at a time.
import { expect, it } from "vitest";
import type { Autoscaling } from "../engine.ts";
import { never, until, type Lab } from "./lab.ts";

/** Nothing is asked of an engine that cannot. */
export function autoscaling(lab: Lab): void {
  it("leaves the number to its place, raises it no more meanwhile, and takes it back with as many as there are", async () => {
    const { engine } = lab;
    if (engine.autoscale === undefined) return;
    const wanted = await lab.up("run", { replicas: 1 });
    const { ref } = wanted;
    const revision = { releaseHash: wanted.workload.releaseHash, restart: wanted.restart };
    const how: Autoscaling = { revision, min: 2, max: 3, cpu: 500 };
    const decided = async () => (await engine.observe(ref, never))?.autoscaled;
    expect(await decided()).toBeUndefined();
    await engine.autoscale(ref, how, lab.fence(), never);
    await until(async () => (await decided())?.replicas === 2, "its place wants the least");
    expect(await decided()).toEqual({ replicas: 2, how });
    const two = await until(async () => {
      const now = await lab.instances(ref);
      return now.length === 2 && now.every((one) => one.ready) && now;
    }, "two are ready");
    await engine.ensure({ ...wanted, replicas: 2 }, lab.fence(), never);
    expect((await lab.instances(ref)).map(({ id }) => id).toSorted()).toEqual(two.map(({ id }) => id).toSorted());
    await engine.autoscale(ref, { ...how, min: 1, memory: 2 ** 30 }, lab.fence(), never);
    expect((await decided())?.how).toEqual({ ...how, min: 1, memory: 2 ** 30 });
    const newest = lab.fence();
    await engine.ensure({ ...wanted, replicas: 2 }, newest, never);
    await expect(engine.autoscale(ref, how, { ...newest, generation: newest.generation - 2 }, never)).rejects.toMatchObject({
      code: "stale_generation",
    });
    await engine.autoscale(ref, undefined, lab.fence(), never);
    await engine.autoscale(ref, undefined, lab.fence(), never);
    expect(await decided()).toBeUndefined();
    expect(await lab.instances(ref)).toHaveLength(2);
    await engine.stop(ref, [two[0]?.id ?? ""], 0, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 1, "one is left");
    await engine.autoscale(ref, { ...how, min: 1 }, lab.fence(), never);
    expect(await decided()).toBeDefined();
    await lab.down(ref);
    expect(await decided()).toBeUndefined();
  });
}
