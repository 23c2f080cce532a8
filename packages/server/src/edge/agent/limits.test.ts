// Limits and what comes of meeting them, with real control groups: memory, processes, what forks away, and nothing of it left behind.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import type { Ref, Workload } from "../../engines/engine.ts";
import { ProcessTable } from "./procfs.ts";
import { isRoot, Lab, never, until } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

const node = { tools: [{ name: "node", wanted: "*" }], command: { exec: ["node", "main.mjs"] } };
const component = (name: string): Ref => ({ stack: "shop", component: name });
const worker = (name: string, shell: string, over: Partial<Workload> = {}): Partial<Workload> => ({
  ref: component(name),
  kind: "worker",
  command: { shell },
  ...over,
});
const groupsOf = (name: string): string[] => {
  const top = "/sys/fs/cgroup/pids/berth";
  return existsSync(top)
    ? readdirSync(top, { withFileTypes: true })
        .filter((one) => one.isDirectory())
        .flatMap((one) => readdirSync(`${top}/${one.name}`))
        .filter((one) => one.startsWith(`${name}-`))
    : [];
};
/** A process that left session, group, parents and environment. */
const escaping = (word: string): string =>
  `rm -f up; (setsid env -i PATH=$PATH sh -c '(trap "" TERM; : > up; while :; do : ${word}; sleep 0.2; done) &' &); while [ ! -e up ]; do sleep 0.1; done`;
const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
};
const running = (word: string): number =>
  new ProcessTable().all.filter((one) => commandOf(one.pid).includes(word) && !commandOf(one.pid).includes("bwrap")).length;

async function groupsWork(lab: Lab): Promise<boolean> {
  return (await lab.engine.capabilities(never)).limits.memory;
}

describe.runIf(isRoot)("limits by control groups, as root", () => {
  it.each(["auto", "off"] as const)("out_of_memory: names the limit, with what was in use (sandbox %s)", async (sandbox) => {
    await using lab = await Lab.open({ agent: { sandbox } });
    expect(await groupsWork(lab)).toBe(true);
    const ref = component("eater");
    await lab.run(
      await lab.workload(
        { "main.mjs": "const kept = []; setInterval(() => kept.push(Buffer.alloc(8_000_000, 1)), 5);" },
        { ref, kind: "worker", ...node, resources: { memory: 96 * 1024 * 1024 } },
      ),
    );
    const instance = await lab.instance(
      (one) => one.lastExit !== undefined && one.cause?.code === "out_of_memory",
      "ended for memory",
      60_000,
      ref,
    );
    expect(instance.cause?.params["limit"]).toBe("96 MiB");
    expect(instance.lastExit).toMatchObject({ outOfMemory: true, signal: "SIGKILL" });
    expect(instance.cause?.evidence[0]?.text).toMatch(/ended 1 of its processes; 9\d(\.\d)? MiB of memory was in use/);
    // Nobody else paid for it.
    expect(lab.processes.get("agent")?.exitCode).toBeNull();
  });

  it("process_limit: a program that starts too many meets its limit, and the cause names it", async () => {
    await using lab = await Lab.open();
    const ref = component("starter");
    await lab.run(
      await lab.workload(
        {},
        worker("starter", "i=0; while [ $i -lt 60 ]; do sleep 300 & i=$((i+1)); done; wait", { ref, resources: { processes: 30 } }),
      ),
    );
    const { cause: why } = await lab.instance((one) => one.cause?.code === "process_limit", "its cause", 60_000, ref);
    expect(why?.params["limit"]).toBe("30 processes and threads");
    expect(why?.evidence[0]?.text).toMatch(/refused to start a process or thread (?:once|\d+ times)/);
  });

  it("a fork bomb fills its own limit and nothing else, and a stop ends all of it and leaves no group", async () => {
    await using lab = await Lab.open();
    const ref = component("bomb");
    await lab.run(
      await lab.workload(
        {},
        // Every process of it goes on trying when it cannot fork: it fills its limit, and is at it when it is stopped.
        worker("bomb", "exec perl -e 'while (1) { select(undef, undef, undef, 0.05) unless defined fork }'", {
          ref,
          resources: { processes: 40 },
        }),
      ),
    );
    let most = 0;
    await until(async () => {
      most = Math.max(most, (await lab.engine.usage([ref], never))[0]?.processes ?? 0);
      // The first processes of its sandbox count, too.
      return most >= 36;
    }, "it has filled its limit");
    expect(most).toBeLessThanOrEqual(40);
    expect(groupsOf("bomb").length).toBeGreaterThan(0);
    await lab.engine.remove(ref, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0, "gone");
    await until(() => groupsOf("bomb").length === 0, "no group is left");
  });

  it("ends what forked twice, left its session and wiped its environment, without a sandbox too", async () => {
    await using lab = await Lab.open({ agent: { sandbox: "off" } });
    const word = `escapee${process.pid}`;
    await lab.run(await lab.workload({}, worker("fugitive", `${escaping(word)}; echo out; exec sleep 300`)));
    const instance = await lab.instance((one) => one.pid !== undefined, "runs", 60_000, component("fugitive"));
    await until(() => running(word) > 0, "it has escaped");
    await lab.engine.stop(component("fugitive"), [instance.id], 300, lab.fence(), never);
    await until(async () => (await lab.instances(component("fugitive"))).length === 0, "gone");
    expect(running(word)).toBe(0);
  });
});

const users: readonly (readonly [string, number | undefined])[] = isRoot
  ? [
      ["root", undefined],
      ["an ordinary user", 12_345],
    ]
  : [["an ordinary user", undefined]];
describe.each(users)("in a sandbox, as %s", (_name, asUser) => {
  it("forked_away: names what was left in the background, and ends it", async () => {
    await using lab = await Lab.open(asUser === undefined ? {} : { asUser });
    const word = `daemon${process.pid}${asUser ?? 0}`;
    await lab.run(await lab.workload({}, worker("daemon", escaping(word))));
    const { cause: why } = await lab.instance((one) => one.cause?.code === "forked_away", "its cause", 60_000, component("daemon"));
    expect(String(why?.params["left"])).toMatch(/`(sh|sleep)`/);
    await lab.engine.remove(component("daemon"), lab.fence(), never);
    await until(async () => (await lab.instances(component("daemon"))).length === 0, "gone");
    expect(running(word)).toBe(0);
  });

  it("a fork bomb ends at the component's limit, and with its instance", async () => {
    await using lab = await Lab.open(asUser === undefined ? {} : { asUser });
    expect((await lab.engine.capabilities(never)).limits.processes).toBe(true);
    const ref = component("bomb2");
    const word = `bombing${process.pid}`;
    await lab.run(
      await lab.workload(
        {},
        worker("bomb2", `i=0; while [ $i -lt 100 ]; do (while :; do sleep 1; done # ${word}) & i=$((i+1)); done; echo all; wait`, {
          ref,
          resources: { processes: 25 },
        }),
      ),
    );
    await lab.instance((one) => one.lastExit !== undefined, "it met its limit", 60_000, ref);
    expect(running(word)).toBeLessThanOrEqual(30);
    await lab.engine.remove(ref, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0, "gone");
    expect(running(word)).toBe(0);
  });
});
