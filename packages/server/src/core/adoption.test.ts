import { expect, test } from "vitest";
import { defaultSpec } from "@berth/contract/spec.ts";
import { currentGroup, type SeenRecord } from "./adoption.ts";
import { readRecord, type ReleaseRecord } from "./release/record.ts";
import { releaseHash } from "./release/release.ts";

const record = (id: string, releaseHash: string, restart: number, createdAt: string): SeenRecord => ({
  id,
  restart,
  createdAt,
  workload: { releaseHash, releaseNumber: Number(releaseHash.slice(1)) },
});
const entry = (...active: string[]) => ({
  ports: [{ tracks: [{ endpoints: active.map((instance) => ({ instance, state: "active" as const })) }] }],
});
const all = [
  record("a", "h1", 0, "2026-01-01"),
  record("b", "h1", 0, "2026-01-01"),
  record("c", "h2", 0, "2026-01-02"),
  record("d", "h1", 1, "2026-01-03"),
];

test("the instances that count are those that users are sent to, then the newest", () => {
  expect(currentGroup([], undefined)).toBeUndefined();
  expect(currentGroup(all, entry("a", "b", "c"))).toMatchObject({
    releaseHash: "h1",
    restart: 0,
    releaseNumber: 1,
    instances: [{ id: "a" }, { id: "b" }],
  });
  expect(currentGroup(all, entry("c"))).toMatchObject({ releaseHash: "h2" });
  expect(currentGroup(all, undefined)).toMatchObject({ releaseHash: "h1", restart: 1, instances: [{ id: "d" }] });
  expect(currentGroup(all, { ports: [{ tracks: [{ endpoints: [{ instance: "a", state: "draining" }] }] }] })).toMatchObject({
    instances: [{ id: "d" }],
  });
});

test("a record counts only for the release that it describes, and only when it is whole", () => {
  const content: ReleaseRecord["content"] = {
    artifactDigest: `sha256:${"a".repeat(64)}`,
    config: { RUN_ENV: "x" },
    secretRefs: { TOKEN: { secret: "token", version: 2 } },
    spec: defaultSpec("web"),
    runtime: { command: { exec: ["node"] }, workdir: ".", env: {}, tools: [{ name: "node", wanted: "24" }] },
  };
  const whole: ReleaseRecord = {
    version: 1,
    team: "default",
    runEnv: "x",
    release: { reason: "deploy", createdBy: "ada", createdAt: "2026-01-01T00:00:00.000Z" },
    content,
    config: {},
  };
  const hash = releaseHash(content as Parameters<typeof releaseHash>[0]);
  expect(readRecord(JSON.parse(JSON.stringify(whole)), hash)).toEqual(whole);
  expect(readRecord(whole, "sha256:other")).toBeUndefined();
  expect(readRecord({ ...whole, content: { ...content, config: { RUN_ENV: "y" } } }, hash)).toBeUndefined();
  expect(readRecord({ ...whole, version: 2 }, hash)).toBeUndefined();
  expect(readRecord(undefined, hash)).toBeUndefined();
});
