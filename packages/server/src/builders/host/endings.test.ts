// However a build ends, nothing that it started lives on, its log is masked and bounded, and its cause says what went wrong.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { canSandbox } from "../../sandbox/bubblewrap.ts";
import type { BuildEvent } from "../builder.ts";
import { statOf } from "../../os/process.ts";
import { findProcesses } from "../process.ts";
import { planOf, stepOf, testHost, until, type TestHost } from "../testing/host.ts";
import { findConfinement, plainConfinement } from "./confine.ts";

// Real programs on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 300_000 });

let host: TestHost;
const { level } = await findConfinement(process.getuid?.() === 0 ? { uid: 61_234, gid: 61_234 } : undefined);
const sandboxed = await canSandbox(tmpdir(), undefined);
beforeEach(async () => {
  host = await testHost();
});
afterEach(() => host.dispose());

/** Processes whose command line holds the word. */
function withWord(word: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      if (pid === process.pid || statOf(pid)?.state === "Z") return false;
      try {
        return readFileSync(`/proc/${String(pid)}/cmdline`, "latin1").includes(word);
      } catch {
        return false;
      }
    });
}
/** Starts a process that left its group, its session and its parents; with a name of its own to find it by. */
const daemon = (word: string): string =>
  `(setsid sh -c 'sleep 300 & exec sh -c "while :; do sleep 0.2; done # ${word}"' >/dev/null 2>&1 &)`;
let words = 0;
const freshWord = (): string => `berthtest${String(process.pid)}x${String((words += 1))}`;
async function nothingIsLeft(): Promise<void> {
  expect(await readdir(join(host.home, "builds"))).toEqual([]);
}
const lines = (events: readonly BuildEvent[]): string[] => events.flatMap((event) => (event.type === "log" ? [event.line.text] : []));

describe("nothing lives on", () => {
  it("after a build that left a daemon behind and succeeded", async () => {
    const word = freshWord();
    const { outcome } = await host.run({
      sourceDigest: await host.upload({ x: "" }),
      plan: planOf({ steps: [stepOf(`${daemon(word)}; while ! pgrep -f '# ${word}' >/dev/null; do sleep 0.02; done; echo up`)] }),
    });
    expect(outcome.ok).toBe(true);
    expect(withWord(word)).toEqual([]);
    await nothingIsLeft();
  });
  it("after a cancel: it rejects with the reason, within two seconds, whatever ignores SIGTERM", async () => {
    const word = freshWord();
    const abort = new AbortController();
    const running = host.run(
      {
        sourceDigest: await host.upload({ x: "" }),
        plan: planOf({ steps: [stepOf(`trap '' TERM; ${daemon(word)}; while :; do sleep 0.1; done`)] }),
      },
      abort.signal,
    );
    running.catch(() => undefined);
    await until("the daemon runs", () => withWord(word).length > 0);
    const reason = new Error("somebody cancelled");
    const at = performance.now();
    abort.abort(reason);
    await expect(running).rejects.toBe(reason);
    // And what a busy machine adds.
    expect(performance.now() - at).toBeLessThan(10_000);
    expect(withWord(word)).toEqual([]);
    await nothingIsLeft();
  });
  it("after the deadline: the cause names it, with the last lines", async () => {
    const word = freshWord();
    const { outcome, events } = await host.run({
      sourceDigest: await host.upload({ x: "" }),
      deadline: 5_000,
      plan: planOf({ steps: [stepOf(`${daemon(word)}; echo still working; sleep 300`)] }),
    });
    expect(outcome).toMatchObject({ ok: false, cause: { code: "build_deadline", params: { waited: "5.0 s" } } });
    expect(outcome.ok ? [] : outcome.cause.evidence[0]?.text).toBe("still working");
    expect(events.at(-1)).toMatchObject({ type: "step", state: "failed" });
    expect(withWord(word)).toEqual([]);
    await nothingIsLeft();
  });
  it.skipIf(level !== "namespace")("with a namespace, not even what wiped its environment and left its session", async () => {
    const word = freshWord();
    const hidden = `(setsid env -i setsid sh -c '(sh -c "while :; do /bin/sleep 0.2; done # ${word}" >/dev/null 2>&1 &)' &)`;
    const { outcome } = await host.run({
      sourceDigest: await host.upload({ x: "" }),
      plan: planOf({ steps: [stepOf(`${hidden}; sleep 0.3; echo up`)] }),
    });
    expect(outcome.ok).toBe(true);
    await until("it is gone", () => withWord(word).length === 0);
  });
  it.skipIf(level !== "namespace").each([
    ["cancel", undefined],
    ["deadline", 6_000],
  ] as const)("with a namespace, nor after a %s what forked twice, left its session and wiped its environment", async (_, deadline) => {
    const word = freshWord();
    const hidden = `(setsid env -i setsid sh -c '(trap "" TERM HUP INT; sh -c "while :; do /bin/sleep 0.2; done # ${word}" >/dev/null 2>&1 &)' &)`;
    const abort = new AbortController();
    const running = host.run(
      {
        sourceDigest: await host.upload({ x: "" }),
        ...(deadline === undefined ? {} : { deadline }),
        plan: planOf({ steps: [stepOf(`trap '' TERM; ${hidden}; while :; do sleep 0.1; done`)] }),
      },
      abort.signal,
    );
    running.catch(() => undefined);
    await until("the hidden program runs, a child of none of the build's other programs", () => withWord(`# ${word}`).length > 0);
    if (deadline === undefined) {
      abort.abort(new Error("somebody cancelled"));
      await expect(running).rejects.toThrow("somebody cancelled");
    } else {
      expect((await running).outcome).toMatchObject({ ok: false, cause: { code: "build_deadline" } });
    }
    expect(withWord(word)).toEqual([]);
    await nothingIsLeft();
  });
  it("on a machine without namespaces, by the mark that every process of a build carries", async () => {
    const bare = await testHost({ findConfinement: (runAs) => Promise.resolve(plainConfinement(runAs)) });
    try {
      const word = freshWord();
      const sourceDigest = await bare.upload({ x: "" });
      const up = `${daemon(word)}; while ! pgrep -f '# ${word}' >/dev/null; do sleep 0.02; done`;
      expect((await bare.run({ sourceDigest, plan: planOf({ steps: [stepOf(up)] }) })).outcome.ok).toBe(true);
      expect(withWord(word)).toEqual([]);
      const abort = new AbortController();
      const running = bare.run(
        { sourceDigest, plan: planOf({ steps: [stepOf(`trap '' TERM; ${up}; while :; do sleep 0.1; done`)] }) },
        abort.signal,
      );
      running.catch(() => undefined);
      await until("the daemon runs", () => withWord(`# ${word}`).length > 0);
      abort.abort(new Error("stop"));
      await expect(running).rejects.toThrow("stop");
      expect(withWord(word)).toEqual([]);
      expect((await bare.run({ sourceDigest, plan: planOf({ steps: [stepOf({ exec: ["no-such-program"] })] }) })).outcome).toMatchObject({
        ok: false,
        cause: { code: "command_not_found" },
      });
      expect(await readdir(join(bare.home, "builds"))).toEqual([]);
    } finally {
      await bare.dispose();
    }
  });
  it("a cancel before the build, and one while it waits for a cache, start nothing", async () => {
    const sourceDigest = await host.upload({ x: "" });
    await expect(host.run({ sourceDigest, plan: planOf() }, AbortSignal.abort(new Error("early")))).rejects.toThrow("early");
    const plan = planOf({
      caches: [{ name: "own", env: { C: "$CACHE" } }],
      steps: [stepOf('touch "$C/busy"; while ! [ -e "$C/end" ]; do sleep 0.05; done')],
    });
    const cacheDir = join(host.home, "caches", "s1", "tools", "own");
    const holder = host.run({ sourceDigest, plan });
    await until("the first build holds the cache", () => existsSync(join(cacheDir, "busy")));
    const abort = new AbortController();
    const waiting = host.run({ sourceDigest, plan: planOf({ caches: plan.caches, steps: [stepOf("echo never")] }) }, abort.signal);
    abort.abort(new Error("no more"));
    await expect(waiting).rejects.toThrow("no more");
    writeFileSync(join(cacheDir, "end"), "");
    expect((await holder).outcome.ok).toBe(true);
    expect((await host.run({ sourceDigest, plan: planOf({ caches: plan.caches, steps: [stepOf("true")] }) })).outcome.ok).toBe(true);
  });
});

describe("a control plane that was killed", () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
  });

  /** A build whose processes hold the word, and its control plane, killed while it runs. */
  async function killed(word: string, sandbox: "auto" | "off"): Promise<ChildProcess> {
    const digest = await host.upload({ x: "" });
    const child = spawn(
      process.execPath,
      [
        fileURLToPath(new URL("../testing/crash.ts", import.meta.url)),
        host.home,
        join(host.home, "..", "blobs"),
        digest,
        host.user === undefined ? "" : String(host.user.uid),
        `${daemon(word)}; echo ready; while :; do sleep 0.1; done # ${word}`,
        sandbox,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    children.push(child);
    let said = "";
    child.stdout.on("data", (data: Buffer) => {
      said += data.toString();
    });
    await until("the build runs", () => said.includes("ready") && withWord(`# ${word}`).length >= 2);
    child.kill("SIGKILL");
    return child;
  }

  it("leaves a build that sweep ends and removes, and only that", async () => {
    const word = freshWord();
    const child = await killed(word, "off");
    await until("the control plane is gone", () => child.exitCode !== null || child.signalCode !== null);
    expect(withWord(word).length).toBeGreaterThan(0);
    const stranger = spawn("sleep", ["300"], { detached: true, stdio: "ignore", env: { BERTH_BUILD: "another-installation" } });
    children.push(stranger);

    await host.builder.sweep((id) => id === "crashed");
    expect(withWord(word).length).toBeGreaterThan(0);
    await host.builder.sweep(() => false);
    expect(withWord(word)).toEqual([]);
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
    await nothingIsLeft();
    expect(findProcesses({ leaders: [], recent: false, mark: "BERTH_BUILD=crashed" })).toEqual([]);
  });
  it.runIf(sandboxed)("takes a build in a sandbox along, and leaves its folder to sweep", async () => {
    const word = freshWord();
    await killed(word, "auto");
    await until("everything of the build has ended", () => withWord(word).length === 0);
    await host.builder.sweep(() => false);
    await nothingIsLeft();
  });
  it("leaves nothing to a first sweep in an empty home", async () => {
    await host.builder.sweep(() => false);
    await nothingIsLeft();
  });
});

describe("the log", () => {
  it("shows no secret: not whole, not encoded, not over two writes, and not in the cause", async () => {
    const secret = "s3cr3t-value-0123456789";
    const script =
      'printf "a %s" "$TOKEN" | cut -c1-9 | tr -d "\\n"; sleep 0.1; printf "%s\\n" "$TOKEN" | cut -c8-; printf "x%s" "$TOKEN" | base64 -w0; echo; echo "error: cannot use $TOKEN" >&2; exit 3';
    const { outcome, events } = await host.run({
      sourceDigest: await host.upload({ x: "" }),
      env: { TOKEN: secret },
      secretValues: [secret],
      plan: planOf({ steps: [stepOf(script)] }),
    });
    expect(JSON.stringify([outcome, events])).not.toContain(secret);
    expect(outcome).toMatchObject({
      ok: false,
      cause: { code: "build_failed", params: { line: "error: cannot use ***", exitCode: 3, step: "build" } },
    });
    expect(lines(events)).toContain("a ***");
  });
  it("stays small when a build prints without end, and still ends with its last lines and the error", async () => {
    const small = await testHost({ limits: { bundle: 1e9, outputs: 1e9, log: { total: 200_000, line: 500, tail: 5000 } } });
    try {
      const script =
        "i=0; head -c 3000000 /dev/zero | tr '\\0' z; echo; yes 'a line that is printed many times' | head -c 60000000; echo; echo 'fatal: the real end'; exit 4";
      const { outcome, events } = await small.run({
        sourceDigest: await small.upload({ x: "" }),
        plan: planOf({ steps: [stepOf(script)] }),
      });
      const all = lines(events);
      expect(all.join("\n").length).toBeLessThan(250_000);
      expect(all[0]).toMatch(/^z{500} \[cut\]$/);
      expect(all).toContain("The log is full; of what follows only the end is kept.");
      expect(all.at(-1)).toBe("fatal: the real end");
      expect(outcome).toMatchObject({ ok: false, cause: { params: { line: "fatal: the real end", exitCode: 4 } } });
    } finally {
      await small.dispose();
    }
  });
  it("keeps the streams apart, names the step and the time of each line, and the last line without a line break", async () => {
    const { events } = await host.run({
      sourceDigest: await host.upload({ x: "" }),
      plan: planOf({ steps: [stepOf("echo out; echo err >&2; sleep 0.1; printf 'größe\\r\\nlast'", { name: "install" })] }),
    });
    const logged = events.flatMap((event) => (event.type === "log" ? [event.line] : []));
    // Each stream is in order; whoever reads both late does not know which was first.
    const of = (stream: string): string[] => logged.filter((line) => line.stream === stream).map((line) => line.text);
    expect([of("stdout"), of("stderr")]).toEqual([["out", "größe", "last"], ["err"]]);
    expect(logged.map((line) => line.step)).toEqual(["install", "install", "install", "install"]);
    for (const line of logged) expect(Date.parse(line.at)).toBeGreaterThan(Date.now() - 60_000);
  });
});

describe("output", () => {
  it("may be opened again by name, as build scripts do", async () => {
    const { outcome, text } = await host.run({
      sourceDigest: await host.upload({ x: "" }),
      plan: planOf({ steps: [stepOf("echo one > /dev/stderr && echo two | tee /dev/stderr >/dev/null && echo three >> /proc/self/fd/1")] }),
    });
    expect(outcome.ok).toBe(true);
    expect(text.split("\n").sort()).toEqual(["one", "three", "two"]);
  });
  it("of a fast program arrives whole", async () => {
    const { text } = await host.run({ sourceDigest: await host.upload({ x: "" }), plan: planOf({ steps: [stepOf("seq 1 60000")] }) });
    expect(text.split("\n").length).toBe(60_000);
  });
});

describe("causes", () => {
  const failing = async (command: Parameters<typeof stepOf>[0], files: Record<string, string> = { x: "" }): Promise<unknown> => {
    const { outcome } = await host.run({
      sourceDigest: await host.upload(files),
      plan: planOf({ steps: [stepOf(command), stepOf("echo never")] }),
    });
    return outcome.ok ? "ok" : outcome.cause;
  };
  it("a program that is not there", async () => {
    expect(await failing({ exec: ["no-such-program", "--now"] })).toMatchObject({
      code: "command_not_found",
      params: { command: "no-such-program --now" },
    });
    expect(await failing("no-such-program --now")).toMatchObject({
      code: "build_failed",
      params: { exitCode: 127, line: expect.stringMatching(/no-such-program.*not found/) },
    });
  });
  it("a step that a signal ended", async () => {
    expect(JSON.stringify(await failing("echo before; kill -9 $$"))).toMatch(/"exitCode":(137|"SIGKILL")/);
  });
  it("a real Python traceback", async () => {
    expect(
      await failing({ exec: ["python3", "setup.py"] }, { "setup.py": "def f():\n    import nowhere_to_be_found\nf()\n" }),
    ).toMatchObject({ code: "build_failed", params: { line: "ModuleNotFoundError: No module named 'nowhere_to_be_found'", exitCode: 1 } });
  });
  it("a step that fails without a word", async () => {
    expect(await failing("exit 9")).toMatchObject({
      code: "build_failed",
      params: { exitCode: 9, line: "it printed nothing" },
      evidence: [],
    });
  });
});

describe("the build's environment", () => {
  it.runIf(process.getuid?.() === 0)("as root: is nothing that a program with root's rights ever sees", async () => {
    const files = {
      "bin/unshare*": "#!/bin/sh\nid -u > /tmp/never\n",
      "bin/setpriv*": "#!/bin/sh\necho hijacked\n",
      "bin/sh*": "#!/bin/sh\necho hijacked\n",
    };
    const plan = planOf({
      env: { PATH: "$ROOT/bin:$PATH", LD_PRELOAD: "$ROOT/evil.so", ENV: "$ROOT/bin/sh", BASH_ENV: "$ROOT/bin/sh" },
      steps: [stepOf({ exec: ["/usr/bin/env"] })],
    });
    const { text, outcome } = await host.run({ sourceDigest: await host.upload(files), plan });
    expect(outcome.ok).toBe(true);
    expect(text).not.toContain("hijacked");
    // The loader complains once for each program that it starts with LD_PRELOAD: only the build's own.
    expect(text.match(/evil\.so.*cannot be preloaded/g)?.length).toBe(1);
  });
  it("arrives as it was set, whatever characters it holds", async () => {
    const odd = { QUOTES: `it's "quoted" \`x\` $(id) $HOME \\`, LINES: "one\ntwo", EMPTY: "", UTF: "größe 名", IFS: "1", UID: "0" };
    const { text, outcome } = await host.run({
      sourceDigest: await host.upload({ x: "" }),
      env: odd,
      plan: planOf({ steps: [stepOf({ exec: ["env", "-0"] })] }),
    });
    expect(outcome.ok).toBe(true);
    const seen = new Map(
      text
        .replaceAll("\0", "\u0001")
        .split("\u0001")
        .map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
    );
    for (const [name, value] of Object.entries(odd)) if (name !== "UID") expect(seen.get(name)).toBe(value);
  });
});
