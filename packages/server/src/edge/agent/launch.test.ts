// How a program is begun, with real shells: whatever is in its environment and arguments arrives unchanged, and nothing in them is carried out.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Workload } from "../../engines/engine.ts";
import { parseStat } from "../../os/process.ts";
import { environmentOf } from "./environment.ts";
import { besideCommand, chainOf, environmentScript, type Program } from "./launch.ts";

const run = promisify(execFile);

describe("launch", () => {
  it("hands environment and arguments on, byte by byte", async () => {
    const dir = mkdtempSync(join(tmpdir(), "berth-launch-"));
    const text = fc.string({
      unit: fc.constantFrom("a", "'", '"', "$", "`", "\\", "\n", " ", "$(id)", "é", ";", "!", "*", "%s", "\t", "-n"),
    });
    try {
      await fc.assert(
        fc.asyncProperty(text, text, async (value, argument) => {
          writeFileSync(join(dir, "env"), environmentScript({ VALUE: value }));
          const program: Program = {
            dir,
            workdir: "/",
            command: { exec: ["/usr/bin/printf", "%s|%s", argument, "end"] },
            env: {},
            mounts: [],
            keep: [],
            tty: false,
          };
          const [command = "", ...args] = besideCommand(
            {
              ...program,
              command: { exec: ["/bin/sh", "-c", 'printf "%s|%s|%s" "$VALUE" "$1" "$(env | grep -c "^BERTH")"', "x", argument] },
            },
            {},
          );
          const { stdout } = await run(command, args, { env: { PATH: "/usr/bin:/bin" } });
          expect(stdout).toBe(`${value}|${argument}|0`);
        }),
        { numRuns: 40 },
      );
    } finally {
      rmSync(dir, { recursive: true });
    }
  }, 60_000);

  it("runs nothing of a tenant's before it became the tenant's user", () => {
    const chain = chainOf({
      dir: "/d",
      user: { uid: 5, gid: 5 },
      workdir: "/w",
      command: { shell: "evil" },
      env: { LD_PRELOAD: "/evil.so" },
      mounts: [{ source: "/s", target: "/t", readOnly: false }],
      keep: [],
      tty: false,
    });
    const drop = chain.indexOf("setpriv");
    expect(chain.slice(0, drop)).toEqual(["unshare", "--mount", "--propagation", "private", "/bin/sh", "/d/mounts"]);
    expect(chain.slice(drop)).toEqual(
      expect.arrayContaining(["--reuid=5", "--regid=5", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]),
    );
    expect(chain.join(" ")).not.toContain("evil.so");
  });
});

describe("environment", () => {
  it("is layered: engine's defaults, artifact, config, engine's facts", () => {
    const workload = {
      ref: { stack: "s", component: "c" },
      releaseNumber: 3,
      releaseHash: "h",
      artifactEnv: { PATH: "$ROOT/bin:${PATH}", A: "artifact", HOST: "0.0.0.0", KEEP: "$ROOTS $OTHER" },
      env: { A: "config", PORT: "1", BERTH_STACK: "forged" },
      ports: [
        { name: "admin", protocol: "tcp" },
        { name: "main-http", protocol: "http" },
      ],
    } as unknown as Workload;
    const env = environmentOf({
      workload,
      instance: "c-1",
      ports: { admin: 1111, "main-http": 2222 },
      root: "/r",
      home: "/h",
      tmp: "/t",
      path: "/p",
      volumes: { "my-data": "/data" },
    });
    expect(env).toMatchObject({
      PATH: "/r/bin:/p",
      A: "config",
      HOST: "0.0.0.0",
      KEEP: "$ROOTS $OTHER",
      PORT: "2222",
      PORT_ADMIN: "1111",
      PORT_MAIN_HTTP: "2222",
      BERTH_VOLUME_MY_DATA: "/data",
      BERTH_STACK: "s",
      BERTH_INSTANCE: "c-1",
      BERTH_RELEASE: "3",
    });
  });
});

describe("proc", () => {
  it("reads a stat line whatever the program is called", () => {
    const line = `42 (a) b (c) S 7 42 41 0 -1 0 0 0 0 0 100 50 3 2 20 0 1 0 98765 ${"0 ".repeat(30)}`;
    expect(parseStat(line)).toEqual({
      pid: 42,
      name: "a) b (c",
      state: "S",
      parent: 7,
      group: 42,
      session: 41,
      ticks: 155,
      start: "98765",
    });
    expect(parseStat("")).toBeUndefined();
  });
});
