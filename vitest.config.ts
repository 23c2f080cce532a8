// How every test of the repository runs. `unit`: beside the code, against real PostgreSQL and real processes; `local`: the built server
// and command line on the local engine (e2e/); `docker`: against a real dockerd and a real podman that the tests start; `cluster`: against a real Kubernetes
// (tools/cluster); `long`, `cluster-long` and `cluster-own`: soak and crash tests that `npm run test:long` adds.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { SlowFirst } from "./tools/slow-first.ts";

const globalSetup = ["packages/server/test/global-setup.ts"].filter((file) => existsSync(join(import.meta.dirname, file)));
const long = "**/*.long.test.ts";
const docker = "**/*.docker.test.ts";
const clusterLong = "**/*.cluster.long.test.ts";
const cluster = "**/*.cluster.test.ts";
const outside = ["**/node_modules/**", "**/dist/**", "**/fixtures/**", "**/*-fixtures/**", "examples/**"];

export default defineConfig({
  cacheDir: ".cache/vite",
  test: {
    pool: "forks",
    maxWorkers: 2,
    sequence: { sequencer: SlowFirst },
    // A test that leaves a promise behind fails, whatever its assertions said.
    dangerouslyIgnoreUnhandledErrors: false,
    // What is waited for comes at once, or late on a busy machine; a second, which is what vitest waits, says nothing.
    expect: { poll: { timeout: 30_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["packages/*/src/**/*.test.ts", "packages/*/test/**/*.test.ts", "tools/**/*.test.ts"],
          exclude: [...outside, long, docker, cluster],
          globalSetup,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: "local",
          include: ["e2e/**/*.test.ts"],
          exclude: [...outside, long, "e2e/docker/**", "e2e/kubernetes/**"],
          testTimeout: 240_000,
          hookTimeout: 180_000,
        },
      },
      {
        extends: true,
        test: {
          name: "docker",
          include: [`packages/server/src/${docker}`, "e2e/docker/**/*.test.ts"],
          exclude: [...outside, long],
          // Each file has daemons and addresses of its own.
          testTimeout: 600_000,
          hookTimeout: 900_000,
        },
      },
      {
        extends: true,
        test: {
          name: "cluster",
          include: [`packages/server/src/${cluster}`, `tools/${cluster}`, "e2e/kubernetes/**/*.test.ts"],
          exclude: [...outside, long],
          globalSetup: ["tools/cluster/vitest-setup.ts"],
          // Pods, images and namespaces come and go in minutes on a machine that is busy.
          testTimeout: 600_000,
          hookTimeout: 900_000,
        },
      },
      {
        extends: true,
        test: {
          name: "long",
          include: [`packages/*/src/${long}`, `e2e/${long}`, `tools/${long}`],
          exclude: [...outside, clusterLong],
          globalSetup,
          testTimeout: 1_200_000,
          hookTimeout: 180_000,
        },
      },
      {
        extends: true,
        test: {
          name: "cluster-long",
          include: [`packages/*/src/${clusterLong}`, `e2e/kubernetes/${clusterLong}`],
          exclude: outside,
          globalSetup: ["tools/cluster/vitest-setup.ts"],
          // One after the other: a machine has one test cluster, and these drain its nodes and hold its API up.
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
          testTimeout: 1_200_000,
          hookTimeout: 180_000,
        },
      },
      {
        extends: true,
        test: {
          name: "cluster-own",
          include: [`tools/${clusterLong}`],
          exclude: outside,
          // These bring the cluster up, fill it and take it down.
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
          testTimeout: 1_200_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
