// A buildkitd of a test's own, from programs that are compiled once and kept outside of the checkout: no distribution that tests run on has them.
import { execFile, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { endConfined, missing, startConfined } from "../../docker/testing/daemon.ts";
import { claimPlace, releasePlace } from "../../docker/testing/place.ts";
import { withLock } from "../../os/lock.ts";
import { BuildkitUnreachable, callBuildctl, type Buildkit } from "../image/buildctl.ts";
import { findOnPath } from "../../os/programs.ts";

const run = promisify(execFile);
const version = "0.26.3";
const programs = ["buildctl", "buildkitd"] as const;

export interface TestBuildkit extends AsyncDisposable {
  /** Ends it; what it keeps stays. */
  down(): Promise<void>;
  /** Starts it again, at the same address. */
  up(): Promise<void>;
  readonly buildkit: Buildkit;
  log(): string;
}

const folder = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "berth-test", `buildkit-${version}`);

/** Why no buildkitd can be started here; undefined when it can. */
export function buildkitMissing(): string | undefined {
  const without = missing(["runc", "ip", "iptables"], "runc, iproute2, iptables");
  if (without !== undefined || programs.every((name) => existsSync(join(folder, name)))) return without;
  return findGo() === undefined ? "no buildkitd, and no go to compile it: https://go.dev/doc/install" : undefined;
}

/** Where its programs are. Takes three minutes and 1.5 GB of Go's own caches the first time. */
export async function buildkitTools(): Promise<string> {
  await mkdir(folder, { recursive: true });
  await withLock(`${folder}.lock`, undefined, async () => {
    if (programs.every((name) => existsSync(join(folder, name)))) return;
    const go = findGo();
    if (go === undefined) throw new Error("no go to compile buildkitd with");
    const work = await mkdtemp(`${folder}.draft-`);
    try {
      // Its module replaces none of what it requires, but is installed from a wrapper, which pins it and all of that by their sums.
      const options = { cwd: work, env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod" }, maxBuffer: 64 * 1024 * 1024 };
      await run(go, ["mod", "init", "berth.test/buildkit"], options);
      await run(go, ["mod", "edit", `-require=github.com/moby/buildkit@v${version}`], options);
      for (const name of programs) {
        await run(go, ["build", "-trimpath", "-ldflags", "-s -w", "-o", name, `github.com/moby/buildkit/cmd/${name}`], options);
        await rename(join(work, name), join(folder, name));
      }
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
  return folder;
}

/** Its builds use this machine's network. */
export async function startBuildkitd(): Promise<TestBuildkit> {
  const tools = await buildkitTools();
  const place = await claimPlace();
  let child: ChildProcess | undefined;
  const at = (name: string): string => join(place.folder, name);
  const stop = async (): Promise<void> => {
    await endConfined(child);
    await releasePlace(place);
  };
  try {
    const buildkit: Buildkit = { program: join(tools, "buildctl"), address: `unix://${at("s")}` };
    writeFileSync(at("buildkitd.toml"), `[worker.oci]\n  defaultCgroupParent = "${place.group}"\n`);
    const argv = [
      join(tools, "buildkitd"),
      ...["--config", at("buildkitd.toml"), "--root", at("root"), "--addr", buildkit.address],
      ...["--oci-worker=true", "--containerd-worker=false", "--oci-worker-net=host"],
    ];
    const up = async (): Promise<void> => {
      child = await startConfined(place, { kind: "buildkitd", argv, hidden: ["/etc/buildkit"] }, () => answering(buildkit));
    };
    await up();
    return { buildkit, up, down: () => endConfined(child), log: () => readFileSync(at("log"), "utf8"), [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function answering(buildkit: Buildkit): Promise<void> {
  for (const until = performance.now() + 60_000; ;) {
    try {
      await callBuildctl(buildkit, ["debug", "workers"], new AbortController().signal);
      return;
    } catch (error) {
      if (!(error instanceof BuildkitUnreachable) || performance.now() > until) throw error;
      await pause(50);
    }
  }
}

/** On the PATH, or where its own installation puts it. */
function findGo(): string | undefined {
  return findOnPath("go", [process.env["PATH"] ?? "", "/usr/local/go/bin"].join(delimiter));
}
