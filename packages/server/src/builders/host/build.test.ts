// The host builder with real programs: what a build may see, what it leaves, and that its result depends on its content alone.
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { BuildEvent } from "../builder.ts";
import { receiveUpload } from "../source/upload.ts";
import { folderTar, streamOf } from "../testing/tarball.ts";
import { never, planOf, stepOf, testHost, until, type TestHost } from "../testing/host.ts";

// Real programs on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 300_000 });

let host: TestHost;
const isRoot = process.getuid?.() === 0;
beforeEach(async () => {
  host = await testHost();
});
afterEach(() => host.dispose());

const states = (events: readonly BuildEvent[]): string[] =>
  events.flatMap((event) => (event.type === "step" ? [`${event.name} ${event.state}`] : []));
async function nothingIsLeft(): Promise<void> {
  expect(await readdir(join(host.home, "builds"))).toEqual([]);
}

describe("bundles", () => {
  it("of a few files come within 300 ms of their upload", async () => {
    const archive = await folderTar({ "index.html": "<h1>hello</h1>", "style.css": "h1 {}", "js/app.js": "1" });
    let best = Infinity;
    // What else the machine does is not measured: one of them has its turn.
    for (let round = 0; round < 3 || (best >= 300 && round < 30); round += 1) {
      const started = performance.now();
      const { digest } = await receiveUpload(streamOf(archive), { blobs: host.blobs, tmpDir: join(host.home, "tmp") }, never);
      const { outcome } = await host.run({ sourceDigest: digest, plan: planOf({ kind: "static", staticSite: { dir: ".", spa: false } }) });
      best = Math.min(best, performance.now() - started);
      expect(outcome.ok).toBe(true);
    }
    expect(best).toBeLessThan(300);
    await nothingIsLeft();
  });
  it("have the same digest for the same content, in another build, stack, order of writing and time", async () => {
    const write = (order: string): string =>
      `for f in ${order}; do echo "$f" > "out/$f"; sleep 0.01; done; chmod 700 out/b; ln -s b out/link`;
    const one = await host.run({
      sourceDigest: await host.upload({ "out/keep": "k", x: "1" }),
      plan: planOf({ steps: [stepOf(write("a b c"))] }),
    });
    const two = await host.run({
      stackId: "s2",
      sourceDigest: await host.upload({ x: "1", "out/keep": "k" }),
      plan: planOf({ steps: [stepOf(write("c a b"))] }),
    });
    const other = await host.run({
      sourceDigest: await host.upload({ x: "1", "out/keep": "k" }),
      plan: planOf({ steps: [stepOf(`${write("a b c")}; chmod 600 out/b`)] }),
    });
    if (!one.outcome.ok || !two.outcome.ok || !other.outcome.ok) throw new Error("a build failed");
    expect(two.outcome.digest).toBe(one.outcome.digest);
    expect(other.outcome.digest).not.toBe(one.outcome.digest);
    expect([...(await host.content(one.outcome.digest)).keys()]).toEqual(["out/", "out/a", "out/b", "out/c", "out/keep", "out/link", "x"]);
  });
  it("hold the plan's root without what it excludes, and the process types of the plan", async () => {
    const sourceDigest = await host.upload({
      README: "no",
      "apps/web/a.js": "a",
      "apps/web/cache/x": "no",
      "apps/web/cached": "yes",
      "apps/web/tmp.log": "no",
    });
    const { outcome } = await host.run({
      sourceDigest,
      plan: planOf({
        root: "apps/web",
        exclude: ["cache", "./tmp.log"],
        processes: { web: { command: { exec: ["x"] }, why: "" }, worker: { command: { exec: ["y"] }, why: "" } },
      }),
    });
    if (!outcome.ok) throw new Error(outcome.cause.code);
    expect([...(await host.content(outcome.digest)).keys()]).toEqual(["a.js", "cached"]);
    expect(outcome.processes).toEqual(["web", "worker"]);
  });
  it("take in what a link names outside the root, turn links of the build into relative ones, and follow no link out of the source", async () => {
    const sourceDigest = await host.upload({ "packages/lib/index.js": "lib", "packages/lib/sub/x": "x", "apps/web/a.js": "a" });
    const script = [
      "mkdir node_modules",
      "ln -s ../../../packages/lib node_modules/lib",
      "ln -s sub/x ../../packages/lib/inner",
      "ln -s ../../apps/web/a.js ../../packages/lib/back",
      `ln -s "$PWD/a.js" abs`,
      "ln -s /usr/bin/env env",
      "ln -s ../../../../../../etc escape",
      `ln -s "$HOME" home`,
      "ln -s . self",
      "mkfifo pipe",
    ].join(" && ");
    const { outcome, text } = await host.run({ sourceDigest, plan: planOf({ root: "apps/web", steps: [stepOf(script)] }) });
    if (!outcome.ok) throw new Error(outcome.cause.code);
    const found = await host.content(outcome.digest);
    expect(found.get("node_modules/lib/index.js")).toBe("lib");
    expect(found.get("node_modules/lib/sub/x")).toBe("x");
    expect(found.get("node_modules/lib/inner")).toBe("-> sub/x");
    expect(found.get("node_modules/lib/back")).toBe("-> ../../a.js");
    expect(found.get("abs")).toBe("-> a.js");
    expect(found.get("self")).toBe("-> .");
    expect(found.get("env")).toBe("-> /usr/bin/env");
    for (const gone of ["escape", "pipe"]) expect(found.has(gone)).toBe(false);
    expect([...found.keys()].filter((path) => path.startsWith("home/"))).toEqual([]);
    expect(text).toMatch(/escape is left out of the bundle/);
  });
  it("never hold what a swapped root or folder leads to", async () => {
    const sourceDigest = await host.upload({ "app/x": "x" });
    const work = host.run({ sourceDigest, plan: planOf({ root: "app", steps: [stepOf("cd .. && rm -r app && ln -s /etc app")] }) });
    await expect(work).rejects.toThrow(/not a folder of the build/);
    await nothingIsLeft();
  });
  it("past their bound are refused with the bound", async () => {
    const small = await testHost({ limits: { bundle: 10_000, outputs: 1e6, log: { total: 1e6, line: 1000, tail: 1000 } } });
    try {
      const { outcome } = await small.run({ sourceDigest: await small.upload({ a: Buffer.alloc(20_000, "x") }), plan: planOf() });
      expect(outcome).toMatchObject({ ok: false, cause: { code: "bundle_too_large" } });
      expect((await small.blobs.list()).length).toBe(1);
    } finally {
      await small.dispose();
    }
  });
});

describe("projects", () => {
  it("Node.js with npm and a local dependency: installs, builds, and the second time takes node_modules from the cache", async () => {
    const files = {
      "package.json": JSON.stringify({
        name: "app",
        version: "1.0.0",
        scripts: { build: "node build.js" },
        dependencies: { greet: "file:./greet" },
      }),
      "greet/package.json": JSON.stringify({ name: "greet", version: "1.0.0", main: "index.js" }),
      "greet/index.js": "module.exports = (n) => `hello ${n}`;",
      "build.js": "require('fs').writeFileSync('out.txt', require('greet')('berth') + ' ' + process.env.NODE_ENV)",
    };
    const plan = planOf({
      kind: "node",
      tools: [
        { name: "node", wanted: ">=20", why: "", phase: "both" },
        { name: "npm", wanted: "*", why: "", phase: "build" },
      ],
      env: { NODE_ENV: "production" },
      caches: [{ name: "npm", env: { npm_config_cache: "$CACHE" } }],
      steps: [
        stepOf(
          { exec: ["npm", "install", "--offline", "--no-audit", "--no-fund"] },
          { name: "install", inputs: ["package.json", "greet"], outputs: ["node_modules"] },
        ),
        stepOf({ exec: ["npm", "run", "build"] }),
      ],
    });
    const first = await host.run({ sourceDigest: await host.upload(files), plan });
    if (!first.outcome.ok) throw new Error(`${first.outcome.cause.code}\n${first.text}`);
    expect(states(first.events)).toEqual(["install started", "install finished", "build started", "build finished"]);
    expect((await host.content(first.outcome.digest)).get("out.txt")).toBe("hello berth production");
    expect(first.outcome.tools.map((tool) => tool.name)).toEqual(["node", "npm"]);
    const second = await host.run({ sourceDigest: await host.upload({ ...files, "new.txt": "1" }), plan });
    if (!second.outcome.ok) throw new Error(second.outcome.cause.code);
    expect(states(second.events)).toEqual(["install cached", "build started", "build finished"]);
    const content = await host.content(second.outcome.digest);
    expect(content.get("node_modules/greet")).toBe("-> ../greet");
    expect(content.get("node_modules/.package-lock.json")).toBe(
      (await host.content(first.outcome.digest)).get("node_modules/.package-lock.json"),
    );
    await nothingIsLeft();
  });
  it("Python without dependencies: compiled files do not depend on times", async () => {
    const plan = planOf({
      kind: "python",
      tools: [{ name: "python", wanted: "*", why: "", phase: "both" }],
      steps: [stepOf({ exec: ["python3", "-m", "compileall", "-q", "-s", ".", "."] })],
    });
    const digests = new Set<string>();
    for (const round of [1, 2]) {
      const { outcome, text } = await host.run({
        stackId: `p${String(round)}`,
        sourceDigest: await host.upload({ "app.py": "print('hi')\n" }),
        plan,
      });
      if (!outcome.ok) throw new Error(`${outcome.cause.code}\n${text}`);
      expect([...(await host.content(outcome.digest)).keys()].some((path) => path.endsWith(".pyc"))).toBe(true);
      digests.add(outcome.digest);
    }
    expect(digests.size).toBe(1);
  });
});

describe("cached steps", () => {
  const step = stepOf("date +%s%N > made/at && cat lock > made/copy", {
    name: "install",
    inputs: ["lock", "conf"],
    outputs: ["made", "absent"],
  });
  it("run again when an input, the command, the plan's or the user's environment changes, and in another stack", async () => {
    const files = { lock: "1", "conf/x": "1", "made/.keep": "", other: "1" };
    const base = planOf({ steps: [step] });
    const state = async (changes: {
      files?: object;
      plan?: ReturnType<typeof planOf>;
      env?: Record<string, string>;
      stackId?: string;
    }): Promise<string | undefined> => {
      const { outcome, events } = await host.run({
        sourceDigest: await host.upload({ ...files, ...changes.files }),
        plan: changes.plan ?? base,
        env: changes.env ?? {},
        stackId: changes.stackId ?? "s1",
      });
      if (!outcome.ok) throw new Error(outcome.cause.code);
      return states(events).at(-1);
    };
    expect(await state({})).toBe("install finished");
    expect(await state({ files: { other: "2" } })).toBe("install cached");
    expect(await state({ files: { lock: "2" } })).toBe("install finished");
    expect(await state({ files: { "conf/x": "2" } })).toBe("install finished");
    expect(await state({ files: { "conf/y": "" } })).toBe("install finished");
    expect(
      await state({
        plan: planOf({ steps: [{ ...step, command: { shell: `true; ${"shell" in step.command ? step.command.shell : ""}` } }] }),
      }),
    ).toBe("install finished");
    expect(await state({ plan: planOf({ steps: [step], env: { MODE: "x" } }) })).toBe("install finished");
    expect(await state({ env: { MODE: "y" } })).toBe("install finished");
    expect(await state({ stackId: "s2" })).toBe("install finished");
    expect(await state({})).toBe("install cached");
  });
  it("replace what the source had in their place, and a damaged one is made anew", async () => {
    const plan = planOf({ steps: [step] });
    const sourceDigest = await host.upload({ lock: "1", "conf/x": "1", "made/stale": "s" });
    const first = await host.run({ sourceDigest, plan });
    const cached = await host.run({ sourceDigest, plan });
    if (!first.outcome.ok || !cached.outcome.ok) throw new Error("a build failed");
    expect(states(cached.events)).toEqual(["install cached"]);
    expect(cached.outcome.digest).toBe(first.outcome.digest);
    const store = join(host.home, "caches", "s1", "outputs");
    const [name = ""] = await readdir(store);
    await writeFile(join(store, name), "not an archive");
    const again = await host.run({ sourceDigest, plan });
    expect(states(again.events)).toEqual(["install started", "install finished"]);
  });
  it("are never restored through a link, and no failed step is kept", async () => {
    const sourceDigest = await host.upload({ lock: "1", "sub/x": "" });
    const deep = stepOf("mkdir -p sub/made && echo x > sub/made/f", { name: "install", inputs: ["lock"], outputs: ["sub/made"] });
    await host.run({ sourceDigest, plan: planOf({ steps: [deep] }) });
    const target = join(host.home, "target");
    await mkdir(target);
    if (host.user !== undefined) await chmod(target, 0o777);
    const trap = await host.run({
      sourceDigest,
      plan: planOf({ steps: [stepOf(`rm -r sub && ln -s '${target}' sub`, { name: "prune" }), deep] }),
    });
    expect(await readdir(target)).toEqual(trap.outcome.ok && !states(trap.events).includes("install cached") ? ["made"] : []);
    const failing = stepOf("mkdir out; exit 1", { inputs: ["lock"], outputs: ["out"] });
    for (const round of [1, 2])
      expect(
        states((await host.run({ sourceDigest, plan: planOf({ steps: [failing] }), env: { ROUND: "same", R: String(round > 2) } })).events),
      ).toEqual(["build started", "build failed"]);
  });
  it("stay within the stack's bound: the least recently used go", async () => {
    const small = await testHost({ limits: { bundle: 1e9, outputs: 150_000, log: { total: 1e6, line: 1000, tail: 1000 } } });
    try {
      const fill = stepOf("mkdir out && head -c 60000 /dev/urandom > out/x", { inputs: ["lock"], outputs: ["out"] });
      const state = async (lock: string): Promise<string | undefined> =>
        states((await small.run({ sourceDigest: await small.upload({ lock }), plan: planOf({ steps: [fill] }) })).events).at(-1);
      for (const lock of ["1", "2"]) expect(await state(lock)).toBe("build finished");
      expect(await state("1")).toBe("build cached");
      expect(await state("3")).toBe("build finished");
      expect(await state("1")).toBe("build cached");
      expect(await state("2")).toBe("build finished");
    } finally {
      await small.dispose();
    }
  });
});

describe("what a build sees", () => {
  it("is a clean environment: Berth's own variables are not in it, the plan's and the user's are", async () => {
    process.env["BERTH_TEST_LEAK"] = "leak";
    try {
      const plan = planOf({
        root: "app",
        env: { WHERE: "$ROOT/bin", PATH: "$ROOT/bin:$PATH", HOME: "/nowhere" },
        caches: [{ name: "stuff", env: { STUFF: "$CACHE/x" } }],
        steps: [stepOf("env; mytool")],
      });
      const { outcome, text } = await host.run({
        sourceDigest: await host.upload({ "app/bin/mytool*": "#!/bin/sh\necho mine $1" }),
        plan,
        env: { USER_SAYS: "$ROOT", WHERE2: "x" },
      });
      expect(outcome.ok).toBe(true);
      expect(text).not.toMatch(/BERTH_TEST_LEAK|VITEST/);
      expect(text).toMatch(/^WHERE=\/.*\/src\/app\/bin$/m);
      expect(text).toMatch(/^USER_SAYS=\$ROOT$/m);
      expect(text).toMatch(new RegExp(`^STUFF=${host.home}/caches/s1/.*/x$`, "m"));
      expect(text).toMatch(new RegExp(`^HOME=${host.home}/builds/`, "m"));
      expect(text).toMatch(/^mine$/m);
    } finally {
      delete process.env["BERTH_TEST_LEAK"];
    }
  });
  it("is its own stack's caches, kept from build to build", async () => {
    const plan = planOf({
      caches: [{ name: "mine", env: { CACHED: "$CACHE" } }],
      steps: [stepOf('cat "$CACHED/f" 2>/dev/null; echo "seen $BERTH_BUILD" >> "$CACHED/f"')],
    });
    const sourceDigest = await host.upload({ x: "" });
    const one = await host.run({ sourceDigest, plan });
    const two = await host.run({ sourceDigest, plan });
    const other = await host.run({ sourceDigest, plan, stackId: "s2" });
    expect([one.text, other.text]).toEqual(["", ""]);
    expect(two.text).toMatch(/^seen b/);
  });
  it.runIf(isRoot)("as root is nothing of Berth or of another build, as a user without rights and without a sandbox", async () => {
    await host.dispose();
    host = await testHost({ sandbox: "off" });
    await writeFile(join(host.home, "key"), "secret", { mode: 0o600 });
    await mkdir(join(host.home, "blobs"), { mode: 0o700 });
    const script = `id -u; cat '${host.home}/key'; ls '${host.home}'; ls '${host.home}/builds'; ls "$HOME/../berth"; ls '${host.home}/caches'; touch "$HOME/../x"; touch '${host.home}/caches/s1/outputs/x'; grep NoNewPrivs /proc/self/status; true`;
    const { text } = await host.run({
      sourceDigest: await host.upload({ x: "" }),
      plan: planOf({ caches: [{ name: "c", env: {} }], steps: [stepOf(script)] }),
    });
    expect(text).toMatch(/^61234$/m);
    expect(text).not.toMatch(/^secret$/m);
    expect(text.match(/[Pp]ermission denied|[Nn]o such file/g)?.length).toBe(7);
    expect(text).toMatch(/NoNewPrivs:\s*1/);
  });
  it("is one build at a time in a cache that cannot be shared, and never a stand-still", async () => {
    const sourceDigest = await host.upload({ x: "" });
    const plan = planOf({
      caches: [
        { name: "b-lock", env: { B: "$CACHE" } },
        { name: "a-lock", env: { A: "$CACHE" } },
      ],
      steps: [stepOf('mkdir "$A/busy" "$B/busy" && sleep 0.1 && rmdir "$A/busy" "$B/busy"')],
    });
    const outcomes = await Promise.all([1, 2, 3].map(() => host.run({ sourceDigest, plan })));
    expect(outcomes.map(({ outcome }) => outcome.ok)).toEqual([true, true, true]);
  });
});

describe("what is said before a build starts", () => {
  it("names the missing tool, with how to get it, and does nothing", async () => {
    const plan = planOf({ tools: [{ name: "cobol-compiler", wanted: ">=3", why: "", phase: "build" }], steps: [stepOf("echo started")] });
    expect(await host.builder.check(plan, "s1")).toMatchObject({ code: "tool_missing", params: { tool: "cobol-compiler" } });
    const { outcome, text } = await host.run({ sourceDigest: await host.upload({ x: "" }), plan });
    expect(outcome).toMatchObject({ ok: false, cause: { code: "tool_missing" } });
    expect(text).toBe("");
    expect(await host.builder.check(planOf(), "")).toBeUndefined();
  });
  it("sends a Dockerfile to a container engine", async () => {
    expect(await host.builder.check(planOf({ kind: "dockerfile", root: "api" }), "s1")).toMatchObject({
      code: "dockerfile_needs_container_engine",
      params: { dir: "api" },
    });
  });
  it("reports a source that is not stored, and a folder that is not in it", async () => {
    await expect(host.run({ sourceDigest: `sha256:${"0".repeat(64)}`, plan: planOf() })).rejects.toMatchObject({ code: "not_found" });
    expect((await host.run({ sourceDigest: await host.upload({ x: "" }), plan: planOf({ root: "nope" }) })).outcome).toMatchObject({
      ok: false,
      cause: { code: "plan_not_detected" },
    });
    await nothingIsLeft();
  });
});

describe("after a crash", () => {
  it("the same build runs again from nothing", async () => {
    const id = "again";
    await mkdir(join(host.home, "builds", id, "src"), { recursive: true });
    await writeFile(join(host.home, "builds", id, "src", "half"), "unpacked");
    const { outcome } = await host.run({ id, sourceDigest: await host.upload({ x: "1" }), plan: planOf() });
    if (!outcome.ok) throw new Error(outcome.cause.code);
    expect([...(await host.content(outcome.digest)).keys()]).toEqual(["x"]);
  });
  it("read-only folders are no obstacle", async () => {
    const { outcome } = await host.run({
      sourceDigest: await host.upload({ x: "1" }),
      plan: planOf({
        steps: [stepOf('mkdir -p "$HOME/go/mod" ro/deep && touch "$HOME/go/mod/f" ro/deep/f && chmod -R a-w "$HOME/go" ro')],
      }),
    });
    expect(outcome.ok).toBe(true);
    await until(
      "the build's folder is gone",
      () => !existsSync(join(host.home, "builds")) || readdir(join(host.home, "builds")).then((names) => names.length === 0),
    );
  });
});
