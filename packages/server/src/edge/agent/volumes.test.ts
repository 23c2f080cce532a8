// Volumes with real programs, as root and as an ordinary user: at their own path, without a trace on the host, and surviving what they must survive.
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { mountScript, refusedMounts } from "./mounts.ts";
import { isRoot, Lab, never, until } from "./testing/lab.ts";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

const ref = { stack: "shop", component: "web" };
const volumes = [{ volume: "my-data", path: "/srv-of-berth-test/deep/data" }];
const script =
  'echo "at $BERTH_VOLUME_MY_DATA"; ls "$BERTH_VOLUME_MY_DATA" | sed \'s/^/holds /\'; echo content > "$BERTH_VOLUME_MY_DATA/file-$BERTH_RELEASE"; id -u | sed \'s/^/uid /\'; grep ^CapEff /proc/self/status; pwd; echo done; exec sleep 300';

const users: readonly (readonly [string, number | undefined])[] = isRoot
  ? [
      ["root", undefined],
      ["an ordinary user", 12_345],
    ]
  : [["an ordinary user", undefined]];
const places = users.flatMap(([name, asUser]) =>
  (["auto", "off"] as const).map((sandbox) => [sandbox === "auto" ? "in a sandbox" : "without a sandbox", name, asUser, sandbox] as const),
);
describe.each(places)("volumes %s as %s", (_where, _name, asUser, sandbox) => {
  it("are mounted at their path, keep their content over releases and removal, and go only by name", async () => {
    await using lab = await Lab.open({ ...(asUser === undefined ? {} : { asUser }), agent: { sandbox } });
    const capabilities = await lab.engine.capabilities(never);
    expect(capabilities.volumes).toBe("mount");
    const run = async (releaseNumber: number): Promise<string[]> => {
      await lab.run(await lab.workload({ "run.sh": script }, { kind: "stateful", volumes, releaseNumber }));
      const lines = await until(async () => {
        const all = (await lab.logs()).map((line) => line.text);
        return all.filter((line) => line === "done").length === releaseNumber && all;
      }, "it has written");
      const [instance] = await lab.instances();
      await lab.engine.stop(ref, [instance?.id ?? ""], 0, lab.fence(), never);
      await until(async () => (await lab.instances()).length === 0, "stopped");
      return lines;
    };
    const first = await run(1);
    expect(first).toContain("at /srv-of-berth-test/deep/data");
    expect(first).toContain("CapEff:\t0000000000000000");
    expect(first.some((line) => line.startsWith(join(lab.home, "stacks", "stack-1", "releases")))).toBe(true);
    expect(existsSync("/srv-of-berth-test")).toBe(false);
    expect(await run(2)).toContain("holds file-1");
    await lab.engine.remove(ref, lab.fence(), never);
    expect(await lab.engine.volumes.list("stack-1", never)).toEqual([{ name: "my-data", bytes: 16, usedBy: [] }]);
    await lab.engine.volumes.remove("stack-1", "my-data", never);
    await lab.engine.volumes.remove("stack-1", "my-data", never);
    expect(await lab.engine.volumes.list("stack-1", never)).toEqual([]);
  });

  it("are there by variable where nothing can be mounted, and cannot be removed while they are used", async () => {
    await using lab = await Lab.open({ ...(asUser === undefined ? {} : { asUser }), agent: { volumes: "env", sandbox } });
    await lab.run(await lab.workload({ "run.sh": script }, { kind: "stateful", volumes }));
    const lines = await until(async () => {
      const all = (await lab.logs()).map((line) => line.text);
      return all.includes("done") && all;
    }, "it has written");
    expect(lines).toContain(`at ${join(lab.home, "stacks", "stack-1", "volumes", "my-data")}`);
    expect((await lab.engine.capabilities(never)).notices.map((one) => one.code)).toContain("volumes_env_only");
    await expect(lab.engine.volumes.remove("stack-1", "my-data", never)).rejects.toMatchObject({ code: "volume_in_use" });
    expect((await lab.engine.volumes.list("stack-1", never))[0]?.usedBy).toEqual(["web"]);
  });

  it("may be read-only, lie where the host has a folder, and are seen by exec and probes too", async () => {
    await using lab = await Lab.open({ ...(asUser === undefined ? {} : { asUser }), agent: { sandbox } });
    const shared = [
      { volume: "one", path: "/opt" },
      { volume: "two", path: "/var/lib/berth-test-two", readOnly: true },
    ];
    await lab.run(
      await lab.workload(
        {
          "run.sh":
            "echo x > /opt/x && echo wrote; echo y > /var/lib/berth-test-two/y || echo refused; ls /var/lib | grep -c . ; echo done; exec sleep 300",
        },
        {
          kind: "stateful",
          volumes: shared,
          probes: { readiness: { check: { type: "exec", command: { shell: "test -f /opt/x" } }, timeout: 30_000 } },
        },
      ),
    );
    const instance = await lab.instance((one) => one.ready, "the probe sees the file");
    // The file that the probe sees is there before the lines are.
    const lines = await until(async () => {
      const all = (await lab.logs()).map((line) => line.text);
      return all.includes("done") && all;
    }, "it said everything");
    expect(lines).toEqual(expect.arrayContaining(["wrote", "refused"]));
    const session = await lab.engine.exec(ref, instance.id, { shell: "cat /opt/x; pwd; echo $BERTH_INSTANCE" }, undefined, never);
    session.stream.end();
    const output = Buffer.concat((await session.stream.toArray()) as Buffer[]).toString();
    expect(await session.exit).toEqual({ exitCode: 0 });
    expect(output).toMatch(new RegExp(`^x\n/.*/releases/[0-9a-f]+\n${instance.id}\n$`));
  });
});

describe("mounts", () => {
  const at = (...targets: string[]): string | undefined =>
    refusedMounts(
      targets.map((target) => ({ source: "/x", target, readOnly: false })),
      ["/var/lib/berth"],
    );
  it("refuse paths that would replace the system's programs or hide Berth", () => {
    for (const target of [
      "/",
      "/usr",
      "/usr/bin",
      "/usr/bin/x",
      "/lib",
      "/proc/1",
      "/dev/x",
      "/etc",
      "/etc/passwd",
      "/var",
      "/var/lib/berth",
      "/var/lib/berth/x",
      "/a/../usr",
      "/a/",
      "/bin",
    ])
      expect(at(target), target).toBeDefined();
    expect(at("/data", "/data/inner")).toBeDefined();
    expect(at("/data", "/data2", "/var/lib/postgresql", "/etc/not-there")).toBeUndefined();
  });

  it("see through a link on the host to where it leads", () => {
    const folder = `/tmp/berth-mounts-${process.pid}`;
    mkdirSync(folder);
    try {
      expect(() =>
        mountScript({ staging: `${folder}/root`, mounts: [{ source: folder, target: "/bin/inner", readOnly: false }], keep: [] }),
      ).toThrow(RangeError);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
