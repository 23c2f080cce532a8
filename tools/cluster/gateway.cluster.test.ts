// The gateway shares requests as routes say: what canary and A/B releases stand on.
import { describe, expect, inject, test } from "vitest";
import { eventually, getFrom, service, testNamespace, webServer } from "./testing.ts";

const { missing, gateway } = inject("cluster");

describe.skipIf(missing !== undefined)(`the gateway of the test cluster${missing === undefined ? "" : ` (${missing})`}`, () => {
  test("shares requests by weights, changes them when told, and follows a header", async () => {
    await using space = await testNamespace();
    const host = `${space.name}.example.test`;
    await space.apply(webServer("a"), service("a"), webServer("b"), service("b"), route(host, { a: 70, b: 30 }));
    for (const name of ["a", "b"]) await space.run("rollout", "status", `deployment/${name}`, "--timeout=120s");
    const ask = async (headers: Readonly<Record<string, string>> = {}) => (await getFrom(gateway, host, headers)).split(" ")[0] ?? "";
    const count = async (): Promise<number> => {
      let toA = 0;
      for (let round = 0; round < 200; round += 1) if ((await ask()) === "a") toA += 1;
      return toA;
    };
    await eventually("answers of both", async () => {
      const answers = new Set<string>();
      for (let round = 0; round < 20; round += 1) answers.add(await ask());
      return answers.size === 2;
    });
    const first = await count();
    // The gateway begins to count anew whenever a route of anybody changes, with those of the greater weight.
    expect(first).toBeGreaterThanOrEqual(130);
    expect(first).toBeLessThanOrEqual(160);
    for (let round = 0; round < 20; round += 1) expect(await ask({ "x-track": "b" })).toBe("b");
    await space.apply(route(host, { a: 0, b: 100 }));
    await eventually("the new weights", async () => (await count()) === 0);
  });
});

function route(host: string, weights: Readonly<Record<string, number>>): object {
  const to = (name: string, weight: number) => ({ name, port: 80, weight });
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: "shared" },
    spec: {
      parentRefs: [{ name: "public", namespace: "default" }],
      hostnames: [host],
      rules: [
        { matches: [{ headers: [{ name: "x-track", value: "b" }] }], backendRefs: [to("b", 1)] },
        { backendRefs: Object.entries(weights).map(([name, weight]) => to(name, weight)) },
      ],
    },
  };
}
