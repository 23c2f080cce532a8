// What every engine does alike with instances: it starts what is missing, stops what is named, and obeys only the newest order.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { never, until, type Lab } from "./lab.ts";

export function instancesAndOrders(lab: Lab): void {
  it("says that it can be reached", async () => {
    expect((await lab.engine.capabilities(never)).reachable).toBe(true);
  });

  it("knows nothing of what it never saw, and takes its absence for success", async () => {
    const ref = lab.newRef();
    expect(await lab.engine.observe(ref, never)).toBeUndefined();
    await lab.engine.stop(ref, ["nobody-aaaaaa"], 0, lab.fence(), never);
    await lab.engine.remove(ref, lab.fence(), never);
    expect(await lab.engine.task("task-unknown", never)).toBeUndefined();
    await lab.engine.cancelTask("task-unknown", 0, never);
    expect(await lab.engine.volumes.list("stack-unknown", never)).toEqual([]);
    await lab.engine.volumes.remove("stack-unknown", "nothing", never);
    expect(await lab.engine.forgetComponent(ref, never)).toBe(true);
  });

  it("starts what is missing, once, and carries the revision on every instance", async () => {
    const wanted = await lab.up("serve", { replicas: 2, restart: 4 }, { releaseNumber: 17 });
    const first = await lab.instances(wanted.ref);
    expect(first.length).toBe(2);
    await Promise.all([
      lab.engine.ensure(wanted, lab.fence(lab.generation), never),
      lab.engine.ensure(wanted, lab.fence(lab.generation), never),
    ]);
    const all = await until(async () => {
      const now = await lab.instances(wanted.ref);
      return now.every((one) => one.ready) && now;
    }, "all are ready");
    expect(all.map((one) => one.id)).toEqual(first.map((one) => one.id));
    for (const one of all) {
      expect(one).toMatchObject({
        track: "stable",
        revision: { releaseHash: wanted.workload.releaseHash, restart: 4 },
        releaseNumber: 17,
        phase: "running",
        restarts: 0,
      });
      expect(one.id).toMatch(new RegExp(`^${wanted.ref.component}-[a-z0-9-]*[a-z0-9]{5,}$`));
      expect(one.id.length).toBeLessThanOrEqual(63);
      expect(Date.parse(one.readySince ?? "")).toBeGreaterThan(0);
      expect(one.addresses["http"]).toMatchObject({ host: expect.any(String) as string, port: expect.any(Number) as number });
      expect(one.cause).toBeUndefined();
    }
    expect(new Set(all.map((one) => `${one.addresses["http"]?.host}:${one.addresses["http"]?.port}`)).size).toBe(2);
    expect((await lab.engine.observe(wanted.ref, never))?.fence).toEqual(lab.fence(lab.generation));
    await lab.down(wanted.ref);
  });

  it("never stops an instance because fewer, others or another track are ensured", async () => {
    const wanted = await lab.up("run", { replicas: 2 });
    await lab.engine.ensure({ ...wanted, replicas: 0 }, lab.fence(), never);
    await lab.engine.ensure({ ...wanted, restart: 1, replicas: 1 }, lab.fence(), never);
    await lab.engine.ensure({ ...wanted, track: "candidate", replicas: 1 }, lab.fence(), never);
    const other = await lab.place.workload("run", { ref: wanted.ref, releaseNumber: 2 });
    await lab.engine.prepare(other, lab.fence(), never);
    await lab.engine.ensure({ ...wanted, workload: other, replicas: 1 }, lab.fence(lab.generation), never);
    const all = await until(async () => {
      const now = await lab.instances(wanted.ref);
      return now.length === 5 && now.every((one) => one.ready) && now;
    }, "five are ready");
    expect(all.map((one) => `${one.track} ${one.revision.restart} ${one.releaseNumber}`).sort()).toEqual([
      "candidate 0 1",
      "stable 0 1",
      "stable 0 1",
      "stable 0 2",
      "stable 1 1",
    ]);
    await lab.down(wanted.ref);
  });

  it("stops exactly the instances that are named", async () => {
    const wanted = await lab.up("run", { replicas: 3 });
    const neighbour = await lab.up("run");
    const [first, ...rest] = await lab.instances(wanted.ref);
    await lab.engine.stop(wanted.ref, [first?.id ?? "", "nobody-aaaaaa"], 5_000, lab.fence(), never);
    await until(async () => (await lab.instances(wanted.ref)).length === 2, "one is gone");
    expect((await lab.instances(wanted.ref)).map((one) => one.id)).toEqual(rest.map((one) => one.id));
    // An id of another component is none of this one's.
    const [beside] = await lab.instances(neighbour.ref);
    await lab.engine.stop(wanted.ref, [beside?.id ?? ""], 0, lab.fence(), never);
    expect((await lab.instances(neighbour.ref))[0]?.phase).not.toBe("stopping");
    // What is ensured again is new.
    await lab.engine.ensure(wanted, lab.fence(), never);
    expect((await lab.instances(wanted.ref)).map((one) => one.id)).not.toContain(first?.id);
    await lab.down(wanted.ref);
    await lab.down(neighbour.ref);
  });

  it("gives an instance its grace period, during which it is stopping and not ready", async () => {
    // One stays: with the last of them goes what made them, and it has its own idea of how long the others may take.
    const byStop = (lab.place.grace ?? "stop") === "stop";
    const wanted = await lab.up("stubborn", { replicas: 3 }, byStop ? {} : { gracePeriod: 20_000 });
    const [patient = "", hasty = ""] = await until(async () => {
      const now = await lab.instances(wanted.ref);
      return now.length === 3 && now.every((one) => one.ready) && now.map((one) => one.id);
    }, "all are ready");
    const isStopping = async (): Promise<void> =>
      expect((await lab.instances(wanted.ref)).find((one) => one.id === patient)).toMatchObject({ phase: "stopping", ready: false });
    await lab.engine.stop(wanted.ref, [patient], 60_000, lab.fence(), never);
    await isStopping();
    if (byStop) {
      const began = Date.now();
      await lab.engine.stop(wanted.ref, [hasty], 600, lab.fence(), never);
      await until(async () => (await lab.instances(wanted.ref)).every((one) => one.id !== hasty), "one is gone");
      expect(Date.now() - began).toBeGreaterThanOrEqual(590);
    } else {
      // Longer than one that has no time would be there.
      await sleep(5_000);
      expect((await lab.instances(wanted.ref)).find((one) => one.id === hasty)).toMatchObject({ ready: true });
    }
    // Each has its own, and a shorter one of a later call wins.
    await isStopping();
    await lab.down(wanted.ref);
  });

  it("starts again what ended, with the same id and address, and says why it ended", async () => {
    const wanted = await lab.up("crash", {}, { ports: [{ name: "http", protocol: "http" }] });
    const [before] = await lab.instances(wanted.ref);
    // A start may be seen a moment before the end that it follows.
    const after = await until(
      async () => (await lab.instances(wanted.ref)).find((one) => one.restarts >= 2 && one.lastExit?.exitCode !== undefined),
      "two restarts",
    );
    expect(after).toMatchObject({
      id: before?.id,
      addresses: before?.addresses,
      ready: false,
      lastExit: { exitCode: 3, outOfMemory: false },
    });
    expect(["exited_at_start", "crash_loop"]).toContain(after.cause?.code);
    expect(after.cause?.evidence.some((one) => one.kind === "exit")).toBe(true);
    await lab.down(wanted.ref);
  });

  it("leaves ended what is not to be started again", async () => {
    const wanted = await lab.up("end", {}, { restart: "on-failure" });
    const one = await until(async () => (await lab.instances(wanted.ref)).find((each) => each.phase === "exited"), "exited");
    expect(one).toMatchObject({ ready: false, restarts: 0, lastExit: { exitCode: 0 } });
    await lab.down(wanted.ref);
  });

  it("refuses orders of an older lab.generation or epoch, also after a removal", async () => {
    const wanted = await lab.up("run");
    const older = lab.fence(lab.generation);
    const newer = lab.fence();
    await lab.engine.ensure(wanted, newer, never);
    await lab.engine.ensure(wanted, newer, never);
    const stale = { code: "stale_generation" };
    await expect(lab.engine.prepare(wanted.workload, older, never)).rejects.toMatchObject(stale);
    await expect(lab.engine.ensure({ ...wanted, replicas: 2 }, older, never)).rejects.toMatchObject(stale);
    await expect(
      lab.engine.stop(
        wanted.ref,
        (await lab.instances(wanted.ref)).map((one) => one.id),
        0,
        older,
        never,
      ),
    ).rejects.toMatchObject(stale);
    await expect(lab.engine.remove(wanted.ref, older, never)).rejects.toMatchObject(stale);
    await expect(
      lab.engine.ensure(lab.target(wanted.workload, { ref: lab.newRef() }), lab.fence(lab.generation, 0), never),
    ).rejects.toMatchObject(stale);
    expect((await lab.instances(wanted.ref)).length).toBe(1);
    await lab.engine.remove(wanted.ref, lab.fence(), never);
    await expect(lab.engine.ensure(wanted, newer, never)).rejects.toMatchObject(stale);
    await until(async () => (await lab.engine.observe(wanted.ref, never)) === undefined, "removed");
  });

  it("refuses an older epoch from the moment that a newer one was announced, whatever the order", async () => {
    const wanted = await lab.up("run");
    const old = lab.epoch;
    await lab.engine.raiseEpoch({ installation: "lab", epoch: old }, never);
    await lab.engine.raiseEpoch({ installation: "lab", epoch: (lab.epoch += 1) }, never);
    await expect(lab.engine.ensure({ ...wanted, replicas: 2 }, lab.fence(lab.generation + 100, old), never)).rejects.toMatchObject({
      code: "stale_generation",
    });
    await expect(
      lab.engine.stop(
        wanted.ref,
        (await lab.instances(wanted.ref)).map((one) => one.id),
        0,
        lab.fence(lab.generation + 100, old),
        never,
      ),
    ).rejects.toMatchObject({ code: "stale_generation" });
    await expect(lab.engine.raiseEpoch({ installation: "lab", epoch: old }, never)).rejects.toMatchObject({ code: "stale_generation" });
    expect((await lab.instances(wanted.ref)).length).toBe(1);
    await lab.down(wanted.ref);
  });
}
