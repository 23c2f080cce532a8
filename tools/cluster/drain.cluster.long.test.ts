// Two nodes: pods of one reach those of the other, and a drain moves them while their Service goes on answering.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { borrowCluster, cannotBorrow } from "./borrow.ts";
import { kubectl } from "./kube.ts";
import { removeSecond } from "./second.ts";
import { parts } from "./settings.ts";
import { clusterImages, eventually, getFrom, service, testNamespace, webServer } from "./testing.ts";

const wanted = [...parts, "node2"] as const;
const missing = cannotBorrow(wanted);

describe.skipIf(missing !== undefined)(`a second node${missing === undefined ? "" : ` (${missing})`}`, () => {
  let cluster: AsyncDisposable | undefined;
  beforeAll(async () => {
    cluster = await borrowCluster(wanted);
  }, 1_200_000);
  afterAll(async () => {
    await removeSecond();
    await cluster?.[Symbol.asyncDispose]();
  });

  test("pods of both answer through one Service, and a drain leaves none on it", async () => {
    const { pulled } = await clusterImages();
    await using space = await testNamespace();
    await space.apply(spread(webServer("web", { replicas: 4, image: pulled })), service("web"));
    await space.run("rollout", "status", "deployment/web", "--timeout=120s");
    const places = async () => (await space.run("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}")).split(" ").sort();
    expect(await places()).toEqual(["node1", "node1", "node2", "node2"]);
    const address = await space.run("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
    await eventually("answers of all four", async () => {
      const seen = new Set<string>();
      for (let round = 0; round < 40; round += 1) seen.add(await getFrom(`http://${address}/`, "web"));
      return seen.size === 4;
    });
    await kubectl(["drain", "node2", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"]);
    await space.run("rollout", "status", "deployment/web", "--timeout=120s");
    expect(await places()).toEqual(["node1", "node1", "node1", "node1"]);
    expect(await getFrom(`http://${address}/`, "web")).toMatch(/^web of web-/);
    await kubectl(["uncordon", "node2"]);
  });
});

function spread(deployment: object): object {
  const { spec, ...rest } = deployment as { spec: { template: { spec: object } } };
  const constraint = {
    maxSkew: 1,
    topologyKey: "kubernetes.io/hostname",
    whenUnsatisfiable: "DoNotSchedule",
    // A node that is being drained is no place to spread to.
    nodeTaintsPolicy: "Honor",
    labelSelector: { matchLabels: { app: "web" } },
  };
  const { template } = spec;
  return { ...rest, spec: { ...spec, template: { ...template, spec: { ...template.spec, topologySpreadConstraints: [constraint] } } } };
}
