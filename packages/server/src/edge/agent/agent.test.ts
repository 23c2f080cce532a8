// The agent with real processes: what it starts runs, what it is told to end is gone, and what happens to it happens to nobody else.
import { describe, expect, it } from "vitest";
import { isRoot, Lab, never, until, webProgram } from "./testing/lab.ts";

const web = { ports: [{ name: "http", protocol: "http" as const }], command: { exec: ["node", "server.mjs"] }, tools: [{ name: "node", wanted: ">=20" }] };

describe("instances", () => {
  it("start, become ready at their own port, and are gone after a stop", async () => {
    await using lab = await Lab.open({ withoutCollector: true });
    await lab.run(await lab.workload({ "server.mjs": webProgram }, web));
    const instance = await lab.instance((one) => one.ready, "ready");
    const address = instance.addresses["http"];
    const answer = await (await fetch(`http://127.0.0.1:${address?.port}/`)).json() as { env: Record<string, string>; pid: number; uid: number };
    expect(answer.pid).toBe(instance.pid);
    expect(answer.env["BERTH_INSTANCE"]).toBe(instance.id);
    if (isRoot) expect(answer.uid).toBeGreaterThanOrEqual(200_000);
    await lab.engine.stop({ stack: "shop", component: "web" }, [instance.id], 2_000, lab.fence(), never);
    await until(async () => (await lab.instances()).length === 0, "gone");
    expect(() => process.kill(answer.pid, 0)).toThrow();
  });
});
