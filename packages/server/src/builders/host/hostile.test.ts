// A hostile build: what it tries against Berth, against other stacks and against the machine comes to nothing, whoever Berth runs as (promise 8).
import { execFile } from "node:child_process";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it, vi } from "vitest";
import { canSandbox } from "../../sandbox/bubblewrap.ts";
import { Cgroups } from "../../sandbox/cgroups.ts";
import { strayed } from "../../sandbox/testing/attempts.ts";
import { attack, nodeTool, type Attacked } from "../testing/hostile-build.ts";
import { planOf, stepOf, testHost, until } from "../testing/host.ts";

// Real programs on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 300_000 });

const isRoot = process.getuid?.() === 0;
const sandboxed = await canSandbox(tmpdir(), undefined);

describe("a hostile build", () => {
  const holds = ({ ok, got, changed }: Attacked): void => {
    expect(strayed(got)).toEqual([]);
    expect(got.length).toBeGreaterThan(40);
    expect(changed).toEqual([]);
    expect(ok).toBe(true);
  };

  it.runIf(sandboxed)(
    isRoot
      ? "as root, in a sandbox and as its own user, gets at nothing of Berth or of another stack"
      : "in a sandbox, gets at nothing of Berth or of another stack",
    async () => {
      holds(await attack());
    },
  );

  it.runIf(isRoot && sandboxed)("as an ordinary user, in a sandbox, gets at nothing of Berth or of another stack", async () => {
    const home = mkdtempSync(join(tmpdir(), "berth-hostile-"));
    try {
      chownSync(home, 12_345, 12_345);
      const drop = [
        "--reuid=12345",
        "--regid=12345",
        "--clear-groups",
        "--",
        process.execPath,
        fileURLToPath(new URL("../testing/hostile-build.ts", import.meta.url)),
      ];
      const { stdout } = await promisify(execFile)("setpriv", drop, {
        env: { PATH: "/usr/bin:/bin", HOME: home, TMPDIR: home },
        maxBuffer: 10_000_000,
      });
      holds(JSON.parse(stdout) as Attacked);
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  it("takes no setuid bit into its bundle, and no link out of it", async () => {
    const host = await testHost();
    try {
      const { outcome } = await host.run({
        sourceDigest: await host.upload({ x: "" }),
        plan: planOf({
          steps: [stepOf("cp /bin/sh shell; chmod 6755 shell; ln -s /etc/shadow shadow; ln -s ../../../key up; mkfifo pipe; true")],
        }),
      });
      if (!outcome.ok) throw new Error(JSON.stringify(outcome.cause));
      const content = await host.content(outcome.digest);
      expect([...content.keys()]).not.toContain("up");
      expect([...content.keys()]).not.toContain("pipe");
      // A link to a file of the machine is only a link: whoever follows it does so with rights of his own.
      expect(content.get("shadow")).toBe("-> /etc/shadow");
    } finally {
      await host.dispose();
    }
  });

  it.runIf(isRoot)("as root, replaces its folders by links while Berth keeps and removes them: nothing outside is touched", async () => {
    const host = await testHost({ sandbox: "off" });
    try {
      const canary = join(host.home, "canary");
      mkdirSync(join(canary, "inner"), { recursive: true, mode: 0o700 });
      writeFileSync(join(canary, "inner", "file"), "whole");
      const before = statSync(canary);
      const script = `mkdir -p out/inner; echo x > out/inner/f; (while :; do mv out was; ln -s ${canary} out; rm -f out; mv was out; done) >/dev/null 2>&1 & sleep 0.3; rm -rf "$TMPDIR/t"; ln -s ${canary} "$TMPDIR/t"; ln -s ${canary} "$HOME/h"`;
      for (let round = 0; round < 3; round += 1)
        await host.run({
          sourceDigest: await host.upload({ x: String(round) }),
          plan: planOf({ steps: [stepOf(script, { inputs: ["x"], outputs: ["out"] })] }),
        });
      expect(readFileSync(join(canary, "inner", "file"), "utf8")).toBe("whole");
      expect({ uid: statSync(canary).uid, mode: statSync(canary).mode }).toEqual({ uid: before.uid, mode: before.mode });
    } finally {
      await host.dispose();
    }
  });

  it.runIf(isRoot)("as root, meets its limits of memory and processes, and the cause names them", async () => {
    const groups = Cgroups.open(`${tmpdir()}/builds-of-${String(process.pid)}`, "builds");
    expect(groups).toBeDefined();
    const memory = 96 * 1024 ** 2;
    const host = await testHost({ keeping: { hidden: [], groups, memory } });
    try {
      const sourceDigest = await host.upload({ x: "" });
      const eats = await host.run({
        sourceDigest,
        plan: planOf({ tools: nodeTool, steps: [stepOf("node -e 'const kept = []; for (;;) kept.push(Buffer.alloc(8_000_000, 1))'")] }),
      });
      expect(eats.outcome).toMatchObject({ ok: false, cause: { code: "build_out_of_memory", params: { step: "build", limit: "96 MiB" } } });
      const forks = await host.run({
        sourceDigest,
        plan: planOf({ steps: [stepOf("i=0; while [ $i -lt 5000 ]; do sleep 300 & i=$((i+1)); done; echo all")] }),
      });
      expect(forks.outcome).toMatchObject({ ok: false });
      expect(["build_process_limit", "build_out_of_memory"]).toContain(forks.outcome.ok ? "" : forks.outcome.cause.code);
      expect(existsSync(join(host.home, "builds", "x"))).toBe(false);
    } finally {
      await host.dispose();
      if (groups !== undefined) await until("no control group is left", () => groups.close());
    }
  });
});
