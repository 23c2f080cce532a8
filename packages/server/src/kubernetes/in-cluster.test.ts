// The service account of a pod, as the kubelet mounts it.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { inClusterAccess } from "./in-cluster.ts";

describe("a pod's own cluster", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "berth-in-cluster-"));
  });
  afterEach(async () => {
    vi.useRealTimers();
    await rm(folder, { recursive: true, force: true });
  });
  const mount = async (token: string): Promise<void> => {
    await writeFile(join(folder, "ca.crt"), "the authority\n");
    await writeFile(join(folder, "namespace"), "berth");
    await writeFile(join(folder, "token"), `${token}\n`);
  };

  it("is none outside of a pod, or without a service account", async () => {
    await mount("one");
    expect(inClusterAccess(undefined, undefined, folder)).toBeUndefined();
    expect(inClusterAccess("10.96.0.1", "x", folder)).toBeUndefined();
    await rm(join(folder, "token"));
    expect(inClusterAccess("10.96.0.1", "443", folder)).toBeUndefined();
  });

  it("is reached with the mounted authority, and the token as it is by now", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    await mount("one");
    const found = inClusterAccess("fd00::1", "443", folder);
    expect(found).toMatchObject({
      namespace: "berth",
      access: { server: "https://[fd00::1]:443", ca: "the authority\n", auth: { kind: "token", token: "one" } },
    });
    await mount("two");
    expect(await found?.token()).toBe("one");
    vi.advanceTimersByTime(60_001);
    expect(await found?.token()).toBe("two");
  });
});
