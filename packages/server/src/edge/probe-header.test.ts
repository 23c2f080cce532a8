// Guarantees of the signed probe header.
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadProbeKey, probeKeyFile, signProbe, verifyProbe } from "./probe-header.ts";

const key = Buffer.alloc(32, 7);
const pin = { stack: "shop", component: "web", releaseHash: "sha256:ab" };

describe("the probe header", () => {
  it("is read back while it is valid", () => {
    expect(verifyProbe(signProbe(pin, 5_000, key), key, 4_000)).toEqual(pin);
  });

  it("is refused when expired, changed, signed by another key, or valid for too long", () => {
    const header = signProbe(pin, 5_000, key);
    expect(verifyProbe(header, key, 5_000)).toBeUndefined();
    expect(verifyProbe(header.replace("web", "api"), key, 4_000)).toBeUndefined();
    expect(verifyProbe(header, Buffer.alloc(32, 8), 4_000)).toBeUndefined();
    expect(verifyProbe(signProbe(pin, 1_000_000, key), key, 4_000)).toBeUndefined();
    expect(verifyProbe("nonsense", key, 4_000)).toBeUndefined();
    expect(verifyProbe(`${header.slice(0, -2)}zz`, key, 4_000)).toBeUndefined();
  });

  it("gets one key for all who ask at once, readable by its owner only", async () => {
    const home = await mkdtemp(join(tmpdir(), "berth-key-"));
    try {
      const keys = await Promise.all(Array.from({ length: 8 }, () => loadProbeKey(home)));
      expect(new Set(keys.map((one) => one.toString("hex"))).size).toBe(1);
      expect((await stat(probeKeyFile(home))).mode & 0o777).toBe(0o600);
    } finally {
      await rm(home, { recursive: true });
    }
  });
});
