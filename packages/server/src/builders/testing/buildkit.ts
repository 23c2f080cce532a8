// A buildkitd of a test's own, from programs that are compiled once and kept outside of the checkout: no distribution that tests run on has them.
import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { endConfined, missing, startConfined } from "../../docker/testing/daemon.ts";
import { claimPlace, releasePlace } from "../../docker/testing/place.ts";
import { compileModule, goModuleMissing, type GoModule } from "../../os/testing/go.ts";
import { BuildkitUnreachable, callBuildctl, type Buildkit } from "../image/buildctl.ts";

const source: GoModule = {
  name: "buildkit",
  version: "0.26.3",
  path: "github.com/moby/buildkit",
  programs: { buildctl: "github.com/moby/buildkit/cmd/buildctl", buildkitd: "github.com/moby/buildkit/cmd/buildkitd" },
};

export interface TestBuildkit extends AsyncDisposable {
  /** Ends it; what it keeps stays. */
  down(): Promise<void>;
  /** Starts it again, at the same address. */
  up(): Promise<void>;
  readonly buildkit: Buildkit;
  log(): string;
}

/** Why no buildkitd can be started here; undefined when it can. */
export function buildkitMissing(): string | undefined {
  return missing(["runc", "ip", "iptables"], "runc, iproute2, iptables") ?? goModuleMissing(source);
}

/** The folder of `buildctl` and `buildkitd`. */
export const buildkitPrograms = (): Promise<string> => compileModule(source);

/** Why they cannot be had here; undefined when they can. */
export const buildkitProgramsMissing = (): string | undefined => goModuleMissing(source);

/** Its builds use this machine's network. */
export async function startBuildkitd(): Promise<TestBuildkit> {
  const tools = await compileModule(source);
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
  for (const until = performance.now() + 120_000; ;) {
    try {
      await callBuildctl(buildkit, ["debug", "workers"], new AbortController().signal);
      return;
    } catch (error) {
      if (!(error instanceof BuildkitUnreachable) || performance.now() > until) throw error;
      await pause(50);
    }
  }
}
