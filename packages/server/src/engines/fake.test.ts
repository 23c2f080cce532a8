// The fake conforms to what it stands for, and its time is the test's.
import { describe, expect, it } from "vitest";
import { describeEngine } from "./conformance.ts";
import type { Does } from "./conformance/lab.ts";
import { plainWorkload } from "./conformance/workload.ts";
import type { Instance, Ref, Workload } from "./engine.ts";
import { FakeEngine, type Behaviour } from "./fake.ts";

const behaviours: Readonly<Record<Does, Behaviour>> = {
  serve: {},
  run: {},
  crash: { exitAfter: 5, exitCode: 3 },
  end: { exitAfter: 5, exitCode: 0 },
  stubborn: { stopAfter: Number.POSITIVE_INFINITY },
};

function workload(does: Does, over: Partial<Workload> & { readonly ref: Ref }): Workload {
  return plainWorkload(
    does,
    {
      kind: "worker",
      artifact: { kind: "bundle", digest: `sha256:${"0".repeat(64)}` },
      command: { shell: does },
      ports: does === "serve" ? [{ name: "http", protocol: "http" }] : [],
    },
    over,
  );
}

/** Its programs say hello as soon as somebody ensures them. */
class Talking extends FakeEngine {
  override async ensure(...args: Parameters<FakeEngine["ensure"]>): Promise<void> {
    const before = new Set((await this.observe(args[0].ref, args[2]))?.instances.map((one) => one.id));
    await super.ensure(...args);
    for (const one of (await this.observe(args[0].ref, args[2]))?.instances ?? [])
      if (!before.has(one.id)) this.write(args[0].ref, one.id, "hello");
  }
}

describeEngine("fake", async () => {
  const engine = new Talking({ now: Date.now });
  return {
    engine,
    owners: "kept",
    workload: async (does, over) => {
      const made = workload(does, over);
      engine.behave(made.releaseHash, behaviours[does]);
      return made;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
});

describe("fake engine", () => {
  it("lives by the clock that it is given", async () => {
    let now = 1_000_000;
    const engine = new FakeEngine({ now: () => now });
    const ref = { stack: "s", component: "c" };
    const made = workload("serve", { ref });
    const signal = new AbortController().signal;
    const one = async (): Promise<Instance | undefined> => (await engine.observe(ref, signal))?.instances[0];
    engine.behave(made.releaseHash, { readyAfter: 300, exitAfter: 1_000, exitCode: 2 });
    await engine.ensure(
      { ref, track: "stable", workload: made, restart: 0, replicas: 1 },
      { installation: "i", epoch: 1, generation: 1 },
      signal,
    );
    expect(await one()).toMatchObject({ phase: "running", ready: false });
    now += 300;
    expect(await one()).toMatchObject({ ready: true, readySince: new Date(now).toISOString() });
    now += 700;
    expect(await one()).toMatchObject({ phase: "backoff", ready: false, restarts: 1, cause: { code: "exited_at_start" } });
    now += 100;
    expect(await one()).toMatchObject({ phase: "running", ready: false, restarts: 1 });
    engine.reachable = false;
    await expect(engine.observe(ref, signal)).rejects.toMatchObject({ failure: { code: "cluster_unreachable" }, retryable: true });
  });
});
