// Each answer of a part that is not well, and what is said of it. Everything that is not well comes with what it means and what to do.
import { cause } from "@berth/contract/causes.ts";
import { describe, expect, test } from "vitest";
import type { Capabilities } from "../engines/engine.ts";
import { ok, runChecks, type Found } from "./doctor-check.ts";
import { https } from "./doctor-https.ts";
import { diskState, edgeState, engineState, toolState } from "./doctor-parts.ts";

const edge = { router: { host: "127.0.0.1", port: 8080 }, pid: 7, version: "2.0.0", workers: [8], agent: 9, collector: 10 };
const engine: Capabilities = {
  reachable: true,
  version: "24.0.0",
  isolation: ["uid", "namespace", "cgroup"],
  tcp: true,
  weights: true,
  volumes: "mount",
  limits: { memory: true, cpu: true, processes: true },
  notices: [],
};
const now = new Date("2026-05-10T00:00:00Z");
const open = { host: "127.0.0.1", port: 443, hosts: ["shop.example"] };
const certificate = (days: number) => ({
  name: "shop",
  not_before: new Date("2026-01-01T00:00:00Z"),
  not_after: new Date(now.getTime() + days * 86_400_000),
  chain_length: 2,
  self_signed: false,
  hosts: ["shop.example"],
  kept_by: null,
});
const room = { bytes: 50e9, files: 1e6, mostFiles: 2e6 };
const table: readonly (readonly [string, Found, Found["status"], RegExp, RegExp?])[] = [
  ["an edge that is whole", edgeState(edge, "2.0.0"), "ok", /127\.0\.0\.1:8080, pid 7, 1 router/],
  ["an edge of another version", edgeState(edge, "2.1.0"), "warning", /is version 2\.0\.0, the server is 2\.1\.0/, /berth edge upgrade/],
  ["an edge without supervisor", edgeState({ ...edge, agent: null }, "2.0.0"), "failed", /has no supervisor of instances/, /edge upgrade/],
  ["an edge without collector", edgeState({ ...edge, collector: null }, "2.0.0"), "failed", /has no log collector/, /edge upgrade/],
  ["an edge without routers", edgeState({ ...edge, workers: [], agent: null }, "2.0.0"), "failed", /no router and no supervisor/, /edge/],
  ["a supervisor that is well", engineState(engine), "ok", /isolation by uid, namespace, cgroup, limits of memory, cpu, processes/],
  [
    "a supervisor that does not answer",
    engineState({ ...engine, reachable: false, notices: [{ code: "cluster_unreachable", params: { reason: "it hangs" } }] }),
    "failed",
    /does not answer: it hangs/,
    /edge upgrade/,
  ],
  [
    "a machine that keeps nothing apart",
    engineState({ ...engine, isolation: ["none"], notices: [{ code: "isolation_none", params: {} }] }),
    "warning",
    /isolation by none/,
    /install bubblewrap/,
  ],
  [
    "control groups that cannot be written",
    engineState({
      ...engine,
      limits: { memory: false, cpu: false, processes: true },
      notices: [{ code: "limits_missing", params: { limits: "memory, cpu" } }],
    }),
    "warning",
    /limits of processes/,
    /may not write control groups there: memory, cpu.*Delegate=yes/,
  ],
  [
    "a daemon that is to make services and is no manager",
    engineState({ ...engine, notices: [{ code: "swarm_not_manager", params: {} }] }),
    "warning",
    /isolation by/,
    /no manager of a Swarm.*docker swarm init/,
  ],
  ["room on the disk", diskState(room, "/h"), "ok", /^50\.0 GB free in \/h$/],
  ["a disk that fills", diskState({ ...room, bytes: 800e6 }, "/h"), "warning", /^800 MB free/, /du -xh/],
  ["a disk that is full", diskState({ ...room, bytes: 90e6 }, "/h"), "failed", /^90 MB free/, /du -xh/],
  ["a disk without room for files", diskState({ ...room, files: 12 }, "/h"), "failed", /room for 12 more files only/, /du --inodes/],
  ["a file system that does not count files", diskState({ ...room, files: 0, mostFiles: 0 }, "/h"), "ok", /free/],
  ["a tool that is there", toolState("git", "2.39 at /usr/bin/git"), "ok", /2\.39/],
  ["a tool that is missing", toolState("git", undefined), "warning", /not found/, /Install git/],
  ["no certificates", https(undefined, [], now), "ok", /HTTP only/],
  ["HTTPS that is open", https(open, [certificate(60)], now), "ok", /:443, 1 certificate/],
  ["a certificate that ends soon", https(open, [certificate(5)], now), "warning", /shop: It expires in 5 day/, /certificates set/],
  [
    "a certificate whose key cannot be opened",
    https(open, [certificate(60), { ...certificate(60), name: "blog", hosts: ["blog.example"] }], now),
    "warning",
    /does not serve blog: it was not given the key/,
    /certificates set/,
  ],
  [
    "a host that gets no certificate by itself",
    https(undefined, [], now, [
      { host: "a.test", cause: cause("proof_wrong", { authority: "ca.test", host: "a.test", reason: "it was nginx" }) },
    ]),
    "warning",
    /ca\.test was not given Berth's answer when it asked a\.test: it was nginx/,
    /certificates show HOST/,
  ],
  ["a certificate that has ended", https(open, [certificate(-1)], now), "failed", /shop: It expired/, /certificates set/],
  [
    "an HTTPS port that is taken",
    https({ ...open, problem: "it is taken" }, [certificate(60)], now),
    "failed",
    /it is taken/,
    /BERTH_HTTPS_PORT/,
  ],
];

describe("what the doctor says of", () => {
  test.each(table.map(([what, found, status, says, next]) => ({ what, found, status, says, next })))(
    "$what",
    ({ found, status, says, next }) => {
      expect(found).toMatchObject({ status, found: expect.stringMatching(says) as string });
      if (next === undefined) expect(found.next).toBeUndefined();
      else expect(found.next).toMatch(next);
    },
  );
});

test("a check that fails, hangs or is not well says why it matters, and keeps none of the others", async () => {
  const one = { why: "It matters.", next: "Mend it." };
  const found = await runChecks(
    [
      { ...one, name: "well", look: () => ok("fine") },
      { ...one, name: "hangs", look: () => new Promise<Found>(() => undefined) },
      {
        ...one,
        name: "throws",
        look: () => {
          throw new Error("no such file");
        },
      },
      { ...one, name: "ill", look: () => ({ status: "warning", found: "odd", next: "Look there." }) },
    ],
    new AbortController().signal,
    200,
  );
  expect(found).toEqual([
    { name: "well", status: "ok", found: "fine" },
    { name: "hangs", status: "failed", found: "did not answer within 0.2 s", ...one },
    { name: "throws", status: "failed", found: "no such file", ...one },
    { name: "ill", status: "warning", found: "odd", why: "It matters.", next: "Look there." },
  ]);
});
