// What every engine keeps alike: records, volumes and logs, until they are removed, and nothing of them after that.
import { expect, it } from "vitest";
import type { Observed } from "../engine.ts";
import { never, until, type Lab } from "./lab.ts";

export function whatIsKept(lab: Lab): void {
  it("keeps with each instance what it was started from", async () => {
    const wanted = await lab.up("run", { restart: 3 }, { record: { content: { deep: ["kept", 1] } } });
    const [one] = await lab.instances(wanted.ref);
    const records = [];
    for await (const record of lab.engine.records(never)) if (record.ref.component === wanted.ref.component) records.push(record);
    expect(records).toMatchObject([
      {
        id: one?.id,
        ref: wanted.ref,
        track: "stable",
        restart: 3,
        stopping: false,
        workload: { releaseHash: wanted.workload.releaseHash, record: { content: { deep: ["kept", 1] } } },
      },
    ]);
    await lab.down(wanted.ref);
  });

  it("removes a component but not its volumes, and a volume only when nobody uses it", async () => {
    const stackId = `stack-${lab.counter + 1}`;
    const wanted = await lab.up("run", {}, { stackId, volumes: [{ volume: "data", path: "/berth-conformance" }] });
    await until(async () => (await lab.instances(wanted.ref)).find((one) => one.ready), "ready");
    expect(await lab.engine.volumes.list(stackId, never)).toMatchObject([{ name: "data", usedBy: [wanted.ref.component] }]);
    await expect(lab.engine.volumes.remove(stackId, "data", never)).rejects.toMatchObject({ code: "volume_in_use" });
    await lab.engine.remove(wanted.ref, lab.fence(), never);
    await until(async () => (await lab.engine.observe(wanted.ref, never)) === undefined, "removed");
    expect(await lab.engine.volumes.list(stackId, never)).toMatchObject([{ name: "data", usedBy: [] }]);
    await lab.engine.volumes.remove(stackId, "data", never);
    expect(await lab.engine.volumes.list(stackId, never)).toEqual([]);
  });

  it("forgets the logs of a component once all of it has ended, and not before", async () => {
    const wanted = await lab.up("serve");
    const lines = async (): Promise<number> => {
      let count = 0;
      for await (const _line of lab.engine.logs(wanted.ref, { follow: false }, never)) count += 1;
      return count;
    };
    await until(async () => (await lines()) > 0, "it said hello");
    expect(await lab.engine.forgetComponent(wanted.ref, never)).toBe(false);
    expect(await lines()).toBeGreaterThan(0);
    await lab.engine.remove(wanted.ref, lab.fence(), never);
    await until(() => lab.engine.forgetComponent(wanted.ref, never), "forgotten");
    expect(await lines()).toBe(0);
  });

  it("forgets a stack when all of it is gone: whoever has the name next reads nothing of it", async () => {
    const stackId = `stack-${lab.counter + 1}`;
    const stack = { id: stackId, name: `${lab.stack}-gone` };
    const wanted = await lab.up(
      "run",
      {},
      { ref: { stack: stack.name, component: "web" }, stackId, volumes: [{ volume: "data", path: "/berth-conformance" }] },
    );
    const lines = async (): Promise<number> => {
      let count = 0;
      for await (const _ of lab.engine.logs(wanted.ref, { follow: false }, never)) count += 1;
      return count;
    };
    await until(async () => (await lines()) > 0, "it said hello");
    expect(await lab.engine.forget({ ...stack, volumes: "none" }, never)).toBe(false);
    expect(await lines()).toBeGreaterThan(0);
    await lab.engine.remove(wanted.ref, lab.fence(), never);
    await until(() => lab.engine.forget({ ...stack, volumes: "kept" }, never), "everything but its volumes is forgotten");
    expect(await lines()).toBe(0);
    expect(await lab.engine.volumes.list(stackId, never)).toMatchObject([{ name: "data" }]);
    await until(() => lab.engine.forget({ ...stack, volumes: "none" }, never), "its volumes are gone");
    expect(await lab.engine.volumes.list(stackId, never)).toEqual([]);
    expect(await lab.engine.forget({ ...stack, volumes: "none" }, never)).toBe(true);
  });

  it("lists every component that it runs", async () => {
    const one = await lab.up("run");
    const two = await lab.up("run", { replicas: 2 });
    const seen: Observed[] = [];
    for await (const observed of lab.engine.list(never)) seen.push(observed);
    expect(seen.find((each) => each.ref.component === one.ref.component)?.instances.length).toBe(1);
    expect(seen.find((each) => each.ref.component === two.ref.component)?.instances.length).toBe(2);
    const usage = await lab.engine.usage([one.ref, two.ref], never);
    expect(usage.length).toBe(3);
    expect(usage.every((each) => each.processes >= 0 && each.memory >= 0 && each.cpuSeconds >= 0)).toBe(true);
    await lab.down(one.ref);
    await lab.down(two.ref);
  });
}
