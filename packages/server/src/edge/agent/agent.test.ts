// The agent with real processes: what it starts runs, what it is told to end is gone, and instances outlive it.
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Instance, Ref, Workload } from "../../engines/engine.ts";
import { ProcessTable, signalAll } from "./procfs.ts";
import { isRoot, Lab, never, until, webProgram } from "./testing/lab.ts";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

const web = {
  ports: [{ name: "http", protocol: "http" as const }],
  command: { exec: ["node", "server.mjs"] },
  tools: [{ name: "node", wanted: ">=20" }],
};
const sh = (shell: string, over: Partial<Workload> = {}): Partial<Workload> => ({ kind: "worker", command: { shell }, ...over });
const component = (name: string): Ref => ({ stack: "shop", component: name });
const alive = (pid: number | undefined): boolean => pid !== undefined && new ProcessTable().all.some((one) => one.pid === pid);

/** The host's pid of a process that calls itself `own` in the program's process view, once the first process of that view has become its parent. */
function orphanOf(program: number | undefined, own: number): number | undefined {
  const first = new ProcessTable().all.find((one) => one.pid === program)?.parent;
  return new ProcessTable().all.find((one) => one.parent === first && kernelOn(one.pid, "status").includes(`\t${own}\n`))?.pid;
}

function kernelOn(pid: number, file: "status" | "cmdline"): string {
  try {
    return readFileSync(`/proc/${String(pid)}/${file}`, "utf8");
  } catch {
    // Ended meanwhile.
    return "";
  }
}

/** proc_pid_status(5): signals are bits from 1 on; SIGTERM is 15. */
function ignoresTerm(pid = 0): boolean {
  const bits = /^SigIgn:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${String(pid)}/status`, "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${bits}`) & (1n << 14n)) !== 0n;
}

describe("instances", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });

  it("become ready at their own port with an environment of their own, and are gone after a stop", async () => {
    const ref = component("front");
    await lab.run(
      await lab.workload(
        { "server.mjs": webProgram },
        { ...web, ref, env: { GREETING: 'it\'s "fine"\nreally', PORT: "1" }, artifactEnv: { NODE_PATH: "$ROOT/lib", GREETING: "lower" } },
      ),
    );
    const instance = await lab.instance((one) => one.ready, "ready", 30_000, ref);
    const port = instance.addresses["http"]?.port;
    const answer = (await (await fetch(`http://127.0.0.1:${port}/`)).json()) as {
      env: Record<string, string>;
      pid: number;
      uid: number;
      cwd: string;
    };
    // In a sandbox the program counts its own processes; this machine sees it under another number.
    expect(readFileSync(`/proc/${instance.pid}/status`, "utf8")).toMatch(new RegExp(`^NSpid:(\\t\\d+)*\\t${answer.pid}$`, "m"));
    expect(answer.env).toMatchObject({
      BERTH_INSTANCE: instance.id,
      BERTH_STACK: "shop",
      BERTH_COMPONENT: "front",
      PORT: String(port),
      PORT_HTTP: String(port),
      GREETING: 'it\'s "fine"\nreally',
    });
    expect(answer.env["NODE_PATH"]).toBe(`${answer.cwd}/lib`);
    // Nothing of the agent's own environment, and nothing that names other stacks.
    expect(Object.keys(answer.env).filter((name) => /^(npm_|VITEST|NODE_ENV|SSH|SUDO)/.test(name))).toEqual([]);
    if (isRoot) expect(answer.uid).toBeGreaterThanOrEqual(200_000);
    await lab.engine.stop(ref, [instance.id], 2_000, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0, "gone");
    expect(alive(instance.pid)).toBe(false);
  });

  it.runIf(isRoot)("as root: cannot read Berth's files nor those of another stack", async () => {
    const ref = component("spy");
    const other = component("victim");
    await lab.run(await lab.workload({ "secret.txt": "other's" }, { ref: other, stackId: "stack-2", ...sh("sleep 60") }));
    const victim = await lab.instance((one) => one.pid !== undefined, "victim runs", 30_000, other);
    const script = [
      `cat ${lab.home}/edge/instances/*/spec.json`,
      `cat ${lab.home}/stacks/stack-2/releases/*/secret.txt`,
      `cat /proc/${victim.pid}/environ`,
      "cat /proc/$PPID/environ",
      `ls ${lab.home}`,
      "grep -E '^(CapEff|CapBnd|NoNewPrivs|Groups)' /proc/self/status",
      "umask",
      "ls -l /proc/self/fd | wc -l",
      "exec sleep 60",
    ].join("\n");
    await lab.run(await lab.workload({ "run.sh": script }, { ref, kind: "worker" }));
    const refused = (line: string): boolean => /ermission denied|No such file|cannot open/.test(line);
    const lines = await until(async () => {
      const found = (await lab.logs({}, ref)).map((line) => line.text);
      return found.some((line) => line === "0027") && found.filter(refused).length >= 4 && found;
    }, "the spy has tried, and was refused");
    expect(lines.join("\n")).not.toContain("other's");
    expect(lines).toContain("CapEff:\t0000000000000000");
    expect(lines).toContain("CapBnd:\t0000000000000000");
    expect(lines).toContain("NoNewPrivs:\t1");
    expect(statSync(join(lab.home, "edge")).mode & 0o777).toBe(0o700);
  });

  it("are started only up to the wanted number, and others stay as they are", async () => {
    const ref = component("many");
    const workload = await lab.workload({}, { ref, ...sh("sleep 300") });
    await lab.run(workload, { replicas: 3 });
    const before = (await lab.instances(ref)).map((one) => one.id).sort();
    await lab.run(workload, { replicas: 2 });
    expect((await lab.instances(ref)).map((one) => one.id).sort()).toEqual(before);
    await lab.run(workload, { replicas: 1, restart: 1 });
    const after = await lab.instances(ref);
    expect(after.length).toBe(4);
    expect(new Set(after.map((one) => one.id)).size).toBe(4);
    expect(after.filter((one) => one.revision.restart === 1).length).toBe(1);
    await lab.engine.remove(ref, lab.fence(), never);
    await until(async () => (await lab.engine.observe(ref, never)) === undefined, "removed");
    await until(() => readdirSync(join(lab.home, "edge", "instances")).every((id) => !id.startsWith("many-")), "folders removed");
  });

  it("refuse orders of an older generation or epoch", async () => {
    const ref = component("fenced");
    const workload = await lab.workload({}, { ref, ...sh("sleep 300") });
    const target = { ref, track: "stable" as const, workload, restart: 0, replicas: 1 };
    await lab.engine.prepare(workload, lab.fence(7000), never);
    await lab.engine.ensure(target, lab.fence(7000), never);
    await expect(lab.engine.ensure({ ...target, replicas: 2 }, lab.fence(6999), never)).rejects.toMatchObject({ code: "stale_generation" });
    const [instance] = await lab.instances(ref);
    await expect(lab.engine.stop(ref, [instance?.id ?? ""], 0, lab.fence(6999), never)).rejects.toMatchObject({ code: "stale_generation" });
    await expect(lab.engine.remove(ref, { installation: "another", epoch: 1, generation: 7001 }, never)).rejects.toMatchObject({
      code: "wrong_state",
    });
    expect((await lab.instances(ref)).map((one) => one.phase)).not.toContain("stopping");
    await lab.engine.remove(ref, lab.fence(7001), never);
  });

  it("start again after an end, with growing pauses, and keep id and port", async () => {
    const ref = component("crasher");
    await lab.run(
      // It tells itself when each start was: log lines are dated when they are read.
      await lab.workload(
        {},
        { ref, kind: "worker", ports: [{ name: "x", protocol: "tcp" }], command: { shell: "echo start $(date +%s%3N); exit 3" } },
      ),
    );
    const first = await lab.instance((one) => one.restarts >= 1, "first restart", 60_000, ref);
    const later = await lab.instance((one) => one.restarts >= 4, "fourth restart", 60_000, ref);
    expect(later.id).toBe(first.id);
    expect(later.addresses).toEqual(first.addresses);
    expect(later.lastExit).toMatchObject({ exitCode: 3, outOfMemory: false });
    const starts = await until(async () => {
      const told = (await lab.logs({}, ref)).flatMap(({ text }) => /^start (\d+)$/.exec(text)?.[1] ?? []);
      return told.length >= 4 && told.map(Number);
    }, "four starts are told");
    starts.slice(1).forEach((at, index) => {
      expect(at - (starts[index] ?? 0)).toBeGreaterThanOrEqual(100 * 2 ** index);
    });
    await lab.engine.remove(ref, lab.fence(), never);
  });

  it("start at once again after they ran steadily", async () => {
    await using own = await Lab.open({ agent: { steadyAfter: 1_500 } });
    const ref = component("steady");
    await own.run(
      await own.workload(
        {
          "run.sh": "if [ ! -e mark3 ]; then for n in 1 2 3; do [ -e mark$n ] || { touch mark$n; exit 1; }; done; fi\nsleep 1.7; exit 1\n",
        },
        { ref, kind: "worker" },
      ),
    );
    await own.instance((one) => one.restarts >= 5 && (one.lastExit?.ranFor ?? 0) > 1_500, "two steady runs", 60_000, ref);
    // With the pauses that four and more ends in a row bring, it would be 1.6 s and more after each end. A machine that is busy may be late once.
    await own.instance(
      (one) => one.phase === "running" && Date.parse(one.startedAt ?? "") - Date.parse(one.lastExit?.at ?? "") < 1_500,
      "runs again at once",
      60_000,
      ref,
    );
  });

  it("follow their restart policy", async () => {
    for (const [restart, code, again] of [
      ["never", 1, false],
      ["on-failure", 0, false],
      ["on-failure", 1, true],
    ] as const) {
      const ref = component(`policy-${restart === "never" ? "never" : code}`);
      await lab.run(await lab.workload({}, { ref, ...sh(`exit ${code}`), restart }));
      if (again) await lab.instance((one) => one.restarts > 0, "restarted", 30_000, ref);
      else expect((await lab.instance((one) => one.phase === "exited", "exited", 30_000, ref)).restarts).toBe(0);
      await lab.engine.remove(ref, lab.fence(), never);
    }
  });

  it("get SIGTERM with their whole group, and SIGKILL only after the grace period", async () => {
    const ref = component("stubborn");
    await lab.run(
      await lab.workload(
        {
          "run.sh":
            "trap 'echo term' TERM\n(trap 'echo child term; exit' TERM; while :; do sleep 0.05; done) &\necho pid $$\nwhile :; do sleep 0.05; done\n",
        },
        { ref, kind: "worker" },
      ),
    );
    await until(async () => (await lab.logs({}, ref)).some((line) => line.text.startsWith("pid")), "started");
    const [instance] = await lab.instances(ref);
    await lab.engine.stop(ref, [instance?.id ?? ""], 600_000, lab.fence(), never);
    await until(async () => {
      const lines = (await lab.logs({}, ref)).map((line) => line.text);
      return lines.includes("term") && lines.includes("child term");
    }, "both were asked");
    expect((await lab.instances(ref))[0]?.phase).toBe("stopping");
    const began = Date.now();
    await lab.engine.stop(ref, [instance?.id ?? ""], 700, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0, "gone", 60_000);
    expect(Date.now() - began).toBeGreaterThanOrEqual(690);
  });

  it("leave nothing behind, not even an orphan that left session and group", async () => {
    const ref = component("forker");
    await lab.run(
      await lab.workload(
        {
          "run.sh":
            "(setsid sh -c 'trap \"\" TERM; echo orphan $$; while :; do sleep 0.1; done' &) \nsleep 0.2\necho ready\nexec sleep 300\n",
        },
        { ref, kind: "worker" },
      ),
    );
    const orphan = await until(
      async () => /orphan (\d+)/.exec((await lab.logs({}, ref)).map((line) => line.text).join("\n"))?.[1],
      "orphan",
    );
    const instance = await lab.instance((one) => one.pid !== undefined, "runs", 30_000, ref);
    const found = await until(() => orphanOf(instance.pid, Number(orphan)), "it is an orphan");
    await lab.engine.stop(ref, [instance.id], 500, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0, "gone");
    expect(alive(found)).toBe(false);
    expect(alive(instance.pid)).toBe(false);
  });

  it("can be stopped while they wait for their next start", async () => {
    const ref = component("waiting");
    await lab.run(await lab.workload({}, { ref, ...sh("exit 1") }));
    const instance = await lab.instance((one) => one.restarts >= 3 && one.phase === "backoff", "waits", 30_000, ref);
    await lab.engine.stop(ref, [instance.id], 600_000, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0, "gone");
  });

  it("leave no shim behind that was held up while its program ended and began again", async () => {
    const ref = component("held");
    await lab.run(await lab.workload({}, { ref, ...sh("exec sleep 300") }));
    const { id, pid } = await lab.instance((one) => one.pid !== undefined, "runs", 30_000, ref);
    const dir = join(lab.home, "edge", "instances", id);
    const held = Number.parseInt(readFileSync(join(dir, "pid-1"), "utf8"), 10);
    expect(readFileSync(`/proc/${String(held)}/cmdline`, "utf8")).toContain(dir);
    process.kill(held, "SIGSTOP");
    process.kill(pid ?? 0, "SIGKILL");
    await lab.instance((one) => one.restarts === 1 && one.pid !== undefined, "runs again", 30_000, ref);
    signalAll(
      new ProcessTable().all.filter(({ pid: one }) => one === held),
      "SIGCONT",
    );
    await lab.engine.stop(ref, [id], 500, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0 && !existsSync(dir), "gone with its folder");
    // One that was killed is gone when the machine comes to it.
    await until(() => new ProcessTable().all.every((one) => !kernelOn(one.pid, "cmdline").includes(dir)), "no shim is left");
  });

  it("report what they use", async () => {
    const ref = component("hungry");
    await lab.run(await lab.workload({ "server.mjs": webProgram }, { ...web, ref }));
    await lab.instance((one) => one.ready, "ready", 30_000, ref);
    const [usage] = await lab.engine.usage([ref], never);
    expect(usage?.memory).toBeGreaterThan(5_000_000);
    expect(usage?.processes).toBe(1);
    expect(usage?.cpuSeconds).toBeGreaterThan(0);
    const [address] = Object.values((await lab.instances(ref))[0]?.addresses ?? {});
    const stream = await lab.engine.forward(ref, (await lab.instances(ref))[0]?.id ?? "", address?.port ?? 0, never);
    stream.end("GET / HTTP/1.0\r\n\r\n");
    expect(String(((await stream.toArray()) as Buffer[])[0])).toContain("200 OK");
    await expect(lab.engine.forward(ref, (await lab.instances(ref))[0]?.id ?? "", 22, never)).rejects.toMatchObject({ code: "not_found" });
    await lab.engine.remove(ref, lab.fence(), never);
  });

  it("hint at changes to whoever watches", async () => {
    const ref = component("watched");
    const seen: Ref[] = [];
    const end = new AbortController();
    const watching = lab.engine.watch((one) => seen.push(one), end.signal);
    await lab.run(await lab.workload({}, { ref, ...sh("sleep 300") }));
    await until(() => seen.some((one) => one.component === "watched"), "a hint");
    end.abort();
    await watching.catch(() => undefined);
    await lab.engine.remove(ref, lab.fence(), never);
  });
});

describe("an agent that is killed", () => {
  const view = (one: Instance): object => ({
    id: one.id,
    pid: one.pid,
    restarts: one.restarts,
    addresses: one.addresses,
    startedAt: one.startedAt,
    readySince: one.readySince,
  });

  it("leaves its instances running, and the next one goes on with the same processes", async () => {
    await using lab = await Lab.open();
    const ref = component("web");
    await lab.run(await lab.workload({ "server.mjs": webProgram }, { ...web, gracePeriod: 500 }), { replicas: 3 });
    await until(async () => {
      const all = await lab.instances(ref);
      return all.length === 3 && all.every((one) => one.ready);
    }, "three are ready");
    const before = (await lab.instances(ref)).map(view);
    // Its primary is told by a channel of its own.
    await until(() => lab.readiness.length >= 4, "the primary was told of each");
    expect(lab.readiness[0]).toEqual({ type: "readiness", instances: [], full: true });
    expect(lab.readiness.slice(1).map((message) => ({ full: message.full, ready: message.instances.map((one) => one.ready) }))).toEqual(
      [1, 2, 3].map(() => ({ full: false, ready: [true] })),
    );
    await lab.kill("agent");
    for (const { pid } of before as { pid: number }[]) expect(alive(pid)).toBe(true);
    await expect(lab.engine.observe(ref, never)).rejects.toMatchObject({ failure: { code: "cluster_unreachable" }, retryable: true });
    await lab.up("agent");
    expect((await lab.instances(ref)).map(view)).toEqual(before);
    expect((await lab.instances(ref)).every((one) => one.ready)).toBe(true);
    await until(() => lab.readiness.length >= 5, "the primary is told again");
    // The primary is told of all of them at once, before anything is probed anew: no request misses an instance because the agent was replaced.
    expect(lab.readiness[4]).toEqual({
      type: "readiness",
      full: true,
      instances: expect.arrayContaining((before as { id: string }[]).map(({ id }) => ({ id, ready: true }))) as unknown,
    });
    // It supervises what it adopted: an end is noticed, a new start keeps the id, a stop is obeyed.
    const [first] = before as { id: string; pid: number }[];
    process.kill(first?.pid ?? 0, "SIGKILL");
    const again = await until(
      async () => (await lab.instances(ref)).find((one) => one.id === first?.id && one.restarts === 1 && one.ready),
      "restarted",
    );
    // Why is told of one that is ready again, too: who looks seldom would never learn it.
    expect(again.lastExit).toMatchObject({ signal: "SIGKILL", cause: { code: expect.any(String) as string } });
    await lab.engine.stop(
      ref,
      (await lab.instances(ref)).map((one) => one.id),
      500,
      lab.fence(),
      never,
    );
    await until(async () => (await lab.instances(ref)).length === 0, "gone");
  });

  it("learns afterwards what ended meanwhile, with its exit code and last lines", async () => {
    await using lab = await Lab.open();
    await lab.run(
      await lab.workload(
        { "run.sh": "while [ ! -e stop ]; do sleep 0.02; done; echo last words; exit 9" },
        { kind: "worker", restart: "never" },
      ),
    );
    const instance = await lab.instance((one) => one.pid !== undefined, "runs");
    await lab.kill("agent");
    await lab.kill("collector");
    const stop = join(
      readFileSync(join(lab.home, "edge", "instances", instance.id, "run"), "utf8").match(/'(\/[^']*releases\/[^']*)'/)?.[1] ?? "",
      "stop",
    );
    writeFileSync(stop, "");
    await until(() => existsSync(join(lab.home, "edge", "instances", instance.id, "exit-1")), "ended");
    await lab.up("collector");
    await lab.up("agent");
    const after = await lab.instance(
      (one) => one.phase === "exited" && one.cause !== undefined && one.cause.evidence.some((line) => line.text === "last words"),
      "known",
    );
    expect(after.lastExit?.exitCode).toBe(9);
    expect(after.cause?.code).toBe("exited_at_start");
  });

  it("starts although an earlier one was killed while it removed what an instance left", async () => {
    await using lab = await Lab.open();
    await lab.kill("collector");
    await lab.run(await lab.workload({ "run.sh": "exec sleep 300" }, { kind: "worker" }));
    const instance = await lab.instance((one) => one.pid !== undefined, "runs");
    await lab.engine.stop({ stack: "shop", component: "web" }, [instance.id], 100, lab.fence(), never);
    const folder = join(lab.home, "edge", "instances", instance.id);
    await until(() => existsSync(join(folder, "ended")), "ended");
    await lab.kill("agent");
    rmSync(join(folder, "stdout"));
    await lab.up("agent");
    await until(() => !existsSync(folder), "the rest is removed");
  });

  it("forgets no order to stop", async () => {
    await using lab = await Lab.open();
    await lab.run(await lab.workload({ "run.sh": "trap '' TERM; while :; do sleep 0.05; done" }, { kind: "worker" }));
    const instance = await lab.instance((one) => one.pid !== undefined, "runs");
    await until(() => ignoresTerm(instance.pid), "is deaf");
    await lab.engine.stop({ stack: "shop", component: "web" }, [instance.id], 600_000, lab.fence(), never);
    await lab.kill("agent");
    expect(alive(instance.pid)).toBe(true);
    // Its time ends while nobody is there to see it.
    const file = join(lab.home, "edge", "instances", instance.id, "state.json");
    const state = readFileSync(file, "utf8");
    expect(state).toMatch(/"phase":"stopping".*"killAt":\d+|"killAt":\d+.*"phase":"stopping"/);
    writeFileSync(file, state.replace(/"killAt":\d+/, `"killAt":${String(Date.now())}`));
    await lab.up("agent");
    await until(async () => (await lab.instances()).length === 0, "gone");
    expect(alive(instance.pid)).toBe(false);
  });

  it("starts everything again after a reboot", async () => {
    await using lab = await Lab.open();
    await lab.run(await lab.workload({}, sh("sleep 300")));
    const before = await lab.instance((one) => one.pid !== undefined, "runs");
    await lab.kill("agent");
    const file = join(lab.home, "edge", "instances", before.id, "state.json");
    // A reboot: another boot id, and no process left.
    writeFileSync(file, readFileSync(file, "utf8").replace(/"boot":"[^"]*"/, '"boot":"earlier"'));
    process.kill(before.pid ?? 0, "SIGKILL");
    await lab.up("agent");
    const after = await lab.instance((one) => one.pid !== undefined && one.pid !== before.pid, "runs again");
    expect(after.id).toBe(before.id);
    expect(after.restarts).toBe(0);
  });

  it("allows no second agent beside it", async () => {
    await using lab = await Lab.open({ withoutCollector: true });
    const first = lab.processes.get("agent");
    await lab.up("agent");
    const second = lab.processes.get("agent");
    await until(() => second?.exitCode === 1, "the second one ends");
    await until(() => /another process serves/.test(lab.complaints), "it says why");
    if (first !== undefined) lab.processes.set("agent", first);
    expect(await lab.instances()).toEqual([]);
  });
});
