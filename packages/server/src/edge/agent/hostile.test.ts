// A hostile program as an instance, as root and as an ordinary user: each attempt at Berth, at another stack and at the machine is refused, and how (promise 8).
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import type { Instance, Ref } from "../../engines/engine.ts";
import { statOf } from "../../os/process.ts";
import { attemptsIn, strayed, type Attempt, type Expectation } from "../../sandbox/testing/attempts.ts";
import { isRoot, Lab, never, until } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

const hostile = readFileSync(fileURLToPath(new URL("../../sandbox/testing/hostile.mjs", import.meta.url)), "utf8");
const node = { tools: [{ name: "node", wanted: "*" }] };
const secret = "the-victims-secret-4711";

interface Scene {
  readonly lab: Lab;
  readonly victim: Instance;
  readonly victimRef: Ref;
  readonly got: readonly Attempt[];
  readonly volume: string;
  readonly release: string;
}

/** A victim in a stack of its own, and an attacker in another that knows every path, pid and socket. */
async function attacked(lab: Lab, owner: number | undefined): Promise<Scene> {
  const victimRef = { stack: "other", component: "victim" };
  await lab.run(
    await lab.workload(
      { "secret.txt": secret },
      {
        ref: victimRef,
        stackId: "stack-2",
        kind: "worker",
        env: { SECRET: secret },
        command: {
          exec: [
            "/bin/sh",
            "-c",
            `echo ${secret} > "$BERTH_VOLUME_DATA/secret" && echo written; trap 'echo hit > "$BERTH_VOLUME_DATA/hit"' WINCH; while :; do sleep 1; done # ${secret}`,
          ],
        },
        volumes: [{ volume: "data", path: "/data" }],
      },
    ),
  );
  await until(async () => (await lab.logs({}, victimRef)).some((line) => line.text === "written"), "the victim has its secret on disk");
  const victim = await lab.instance((one) => one.pid !== undefined, "the victim runs", 30_000, victimRef);
  const stack = join(lab.home, "stacks", "stack-2");
  const release = join(stack, "releases", readdirSync(join(stack, "releases")).find((name) => !name.startsWith(".")) ?? "");
  const volume = join(stack, "volumes", "data");
  // What the control plane keeps beside the agent; the agent knows nothing of it.
  mkdirSync(join(lab.home, "postgres"), { mode: 0o700 });
  for (const name of ["admin-token", "secrets.key", "postgres/password"]) writeFileSync(join(lab.home, name), secret, { mode: 0o600 });
  if (owner !== undefined)
    for (const name of ["postgres", "admin-token", "secrets.key", "postgres/password"])
      (await import("node:fs")).chownSync(join(lab.home, name), owner, owner);
  const instance = join(lab.home, "edge", "instances", victim.id);
  const agent = lab.processes.get("agent")?.pid ?? 0;
  const targets = {
    home: lab.home,
    secret,
    stay: true,
    read: {
      token: join(lab.home, "admin-token"),
      key: join(lab.home, "secrets.key"),
      password: join(lab.home, "postgres", "password"),
      order: join(instance, "spec.json"),
      environment: join(instance, "env"),
      config: join(lab.home, "edge", "uids.json"),
      release: join(release, "secret.txt"),
      volume: join(volume, "secret"),
      shadow: "/etc/shadow",
    },
    list: {
      edge: join(lab.home, "edge"),
      logs: join(lab.home, "logs"),
      run: join(lab.home, "run"),
      releases: join(stack, "releases"),
      volumes: join(stack, "volumes"),
      temporary: join(stack, "tmp"),
    },
    write: {
      token: join(lab.home, "admin-token"),
      volume: join(volume, "secret"),
      release: join(release, "secret.txt"),
      passwd: "/etc/passwd",
    },
    connect: { agent: join(lab.home, "run", "agent.sock"), logs: join(lab.home, "run", "logs.sock") },
    processes: { victim: victim.pid, agent },
  };
  const ref = { stack: "shop", component: "attacker" };
  await lab.run(
    await lab.workload(
      { "hostile.mjs": hostile },
      { ref, kind: "worker", ...node, command: { exec: ["node", "hostile.mjs"] }, env: { HOSTILE: JSON.stringify(targets) } },
    ),
  );
  const lines = await until(
    async () => {
      const all = (await lab.logs({}, ref)).map((line) => line.text);
      return all.some((line) => line.includes('"end"')) && all;
    },
    "every attempt was made",
    120_000,
  );
  return { lab, victim, victimRef, volume, release, got: attemptsIn(lines) };
}

/** Of what only an instance can try. */
const amongInstances: readonly Expectation[] = [
  [/^(enter the folder|write the memory)/, /^(ENOENT|EACCES|EPERM|ESRCH)$/],
  [/^join the files/, /(No such file|[Pp]ermission denied|not permitted)/],
  [/^stop /, /^(ESRCH|EPERM)$/],
];

async function holds({ lab, victim, victimRef, got, volume, release }: Scene, see: RegExp): Promise<void> {
  expect(strayed(got, [[/^see /, see], ...amongInstances])).toEqual([]);
  expect(new Set(got.map(({ attempt }) => attempt)).size).toBeGreaterThan(50);
  // And nothing came of it where it would have shown.
  expect(readFileSync(join(volume, "secret"), "utf8")).toBe(`${secret}\n`);
  expect(readFileSync(join(release, "secret.txt"), "utf8")).toBe(secret);
  expect(readFileSync(join(lab.home, "admin-token"), "utf8")).toBe(secret);
  expect(statOf(victim.pid ?? 0)?.state).not.toBe("T");
  expect(existsSync(join(volume, "hit"))).toBe(false);
  const [still] = await lab.instances(victimRef);
  expect(still).toMatchObject({ id: victim.id, pid: victim.pid, restarts: 0 });
  expect(lab.processes.get("agent")?.exitCode).toBeNull();
}

describe("a hostile program", () => {
  it.runIf(isRoot)("as root, in a sandbox and as a user of its own, gets at nothing and sees nobody", async () => {
    await using lab = await Lab.open();
    expect((await lab.engine.capabilities(never)).isolation).toEqual(expect.arrayContaining(["uid", "namespace"]));
    await holds(await attacked(lab, undefined), /^ENOENT$/);
  });

  it.runIf(isRoot)("as root, without a sandbox, is kept apart by its user alone, and sees processes by name", async () => {
    await using lab = await Lab.open({ agent: { sandbox: "off" } });
    expect((await lab.engine.capabilities(never)).notices.map(({ code }) => code)).toContain("isolation_uid_only");
    const scene = await attacked(lab, undefined);
    // Command lines are no secret between users of one machine: secrets belong into the environment, which is.
    expect(scene.got).toContainEqual({ attempt: "find the secret in any cmdline", got: "FOUND" });
    await holds({ ...scene, got: scene.got.filter(({ attempt }) => attempt !== "find the secret in any cmdline") }, /^SEEN /);
  });

  it("as an ordinary user, in a sandbox, gets at nothing and sees nobody", async () => {
    const asUser = isRoot ? 12_345 : undefined;
    await using lab = await Lab.open(asUser === undefined ? {} : { asUser });
    expect((await lab.engine.capabilities(never)).isolation).toContain("namespace");
    await holds(await attacked(lab, asUser), /^ENOENT$/);
  });

  it("as an ordinary user, without a sandbox, is not kept apart, and the cluster says so", async () => {
    await using lab = await Lab.open({ ...(isRoot ? { asUser: 12_345 } : {}), agent: { sandbox: "off" } });
    const { isolation, notices, limits } = await lab.engine.capabilities(never);
    expect(isolation).toEqual(["none"]);
    expect(notices.map(({ code }) => code)).toContain("isolation_none");
    expect(limits.processes).toBe(false);
  });
});

describe.runIf(isRoot)("links in a tenant's folders, as root", () => {
  it("lead Berth's own work nowhere, though folders turn into links while it looks, owns and removes", async () => {
    await using lab = await Lab.open();
    const canary = join(lab.home, "canary");
    mkdirSync(join(canary, "inner"), { recursive: true });
    writeFileSync(join(canary, "inner", "file"), "whole");
    chmodSync(canary, 0o700);
    const before = statSync(canary);
    const ref = { stack: "shop", component: "racer" };
    const script = `cd /data; mkdir -p real/inner; echo x > real/inner/file; echo racing; while :; do ln -sfn ${canary} swap; rm -rf moving; cp -r real moving; rm -rf moving; ln -s ${canary} moving; rm -f "$HOME/link"; ln -s ${canary} "$HOME/link"; rm -f "$TMPDIR/t"; ln -s ${canary} "$TMPDIR/t"; rm -f moving; done`;
    await lab.run(
      await lab.workload({}, { ref, kind: "stateful", command: { shell: script }, volumes: [{ volume: "data", path: "/data" }] }),
    );
    await until(async () => (await lab.logs({}, ref)).some((line) => line.text === "racing"), "it races");
    for (let round = 0; round < 40; round += 1) {
      // Berth measures the volume and goes over the stack's folders meanwhile.
      await lab.engine.volumes.list("stack-1", never);
      await lab.engine.prepare(await lab.workload({ [`file-${round % 3}`]: "x" }, { ref }), lab.fence(), never);
    }
    const [instance] = await lab.instances(ref);
    await lab.engine.stop(ref, [instance?.id ?? ""], 0, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0, "gone");
    await lab.engine.volumes.remove("stack-1", "data", never);
    expect(existsSync(join(lab.home, "stacks", "stack-1", "volumes", "data"))).toBe(false);
    expect(readFileSync(join(canary, "inner", "file"), "utf8")).toBe("whole");
    expect({ uid: statSync(canary).uid, mode: statSync(canary).mode }).toEqual({ uid: before.uid, mode: before.mode });
  });
});
