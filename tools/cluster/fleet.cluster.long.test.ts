// Thousands of pods, on nodes that are only pretended, beside the real one.
import { expect, test } from "vitest";
import { createProgress } from "../progress.mjs";
import { borrowCluster, cannotBorrow } from "./borrow.ts";
import { fleet, fleetNamespace } from "./fleet.ts";
import { kubectl } from "./kube.ts";
import { testNamespace, webServer } from "./testing.ts";

const missing = cannotBorrow();

test.skipIf(missing !== undefined)(
  `2,000 pods on 20 fake nodes, and none of a real workload${missing === undefined ? "" : ` (${missing})`}`,
  async () => {
    await using _cluster = await borrowCluster();
    const progress = createProgress(process.stdout);
    try {
      await fleet({ nodes: 20, pods: 2000 }, progress);
      const places = await kubectl([
        "-n",
        fleetNamespace,
        "get",
        "pods",
        "-o",
        "jsonpath={range .items[*]}{.status.phase} {.spec.nodeName}{'\\n'}{end}",
      ]);
      const pods = places.trim().split("\n");
      expect(pods).toHaveLength(2000);
      for (const pod of pods) expect(pod).toMatch(/^Running fleet-\d+$/);
      await using space = await testNamespace();
      await space.apply(webServer("real", { replicas: 3 }));
      await space.run("rollout", "status", "deployment/real", "--timeout=120s");
      expect(await space.run("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}")).toBe("node1 node1 node1");
    } finally {
      await fleet({ nodes: 0, pods: 0 }, progress);
    }
    expect(await kubectl(["get", "nodes", "-o", "name"])).toBe("node/node1\n");
  },
);
