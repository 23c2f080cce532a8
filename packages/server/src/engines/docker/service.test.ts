// What a release becomes as a service of a Swarm, field by field, and that the order is read back from it whole.
import { expect, it } from "vitest";
import type { Workload } from "../engine.ts";
import { DockerEngine } from "./engine.ts";
import { label, readOrder, type ContainerOrder } from "./labels.ts";
import { serviceName, serviceSpec } from "./service.ts";

const workload: Workload = {
  ref: { stack: "shop", component: "web" },
  stackId: "stack-1",
  kind: "web",
  releaseHash: "sha256:0a",
  releaseNumber: 7,
  artifact: { kind: "image", reference: "registry.test/web@sha256:1b", entrypoint: ["/entry"] },
  command: { exec: ["node", "server.js"] },
  workdir: "/app/sub",
  artifactEnv: { FROM_IMAGE: "1" },
  env: { DATABASE_URL: "postgres://u:tr0ub4dor@db/x", PLAIN: "a=b" },
  secretValues: ["tr0ub4dor"],
  ports: [{ name: "http", protocol: "http" }],
  volumes: [{ volume: "data", path: "/data", readOnly: true }],
  resources: { memory: 67_108_864, cpu: 0.5, processes: 99 },
  probes: {},
  restart: "always",
  gracePeriod: 2_500,
  securityProfile: "restricted",
  tools: [],
};
const order: ContainerOrder = {
  id: "web-abcdef",
  ref: workload.ref,
  track: "stable",
  restart: 3,
  workload,
  fence: { installation: "inst-0123456789", epoch: 2, generation: 5 },
  createdAt: 1_700_000_000_000,
  address: "10.1.0.12",
};

it("has every field of the workload that a Swarm can obey", () => {
  expect(serviceSpec(order, { constraints: ["node.id==n1"] })).toMatchObject({
    Name: "shop-web-abcdef",
    Mode: { Replicated: { Replicas: 1 } },
    EndpointSpec: { Mode: "dnsrr" },
    TaskTemplate: {
      ContainerSpec: {
        Image: "registry.test/web@sha256:1b",
        Command: ["/entry"],
        Args: ["node", "server.js"],
        Dir: "/app/sub",
        Hostname: "web-abcdef",
        StopGracePeriod: 2_500_000_000,
        CapabilityDrop: ["ALL"],
        Privileges: { NoNewPrivileges: true },
        Init: true,
        HealthCheck: { Test: ["NONE"] },
        Mounts: [{ Type: "volume", Target: "/data", ReadOnly: true }],
        Env: expect.arrayContaining(["FROM_IMAGE=1", "PLAIN=a=b", "PORT=8080", "BERTH_RELEASE=7"]) as string[],
      },
      Resources: { Limits: { Pids: 99, MemoryBytes: 67_108_864, NanoCPUs: 5e8 } },
      RestartPolicy: { Condition: "any" },
      Placement: { Constraints: ["node.id==n1"] },
    },
  });
});

it.each([
  ["always", "any"],
  ["on-failure", "on-failure"],
  ["never", "none"],
] as const)("is started again %s", (restart, Condition) => {
  const spec = serviceSpec({ ...order, workload: { ...workload, restart } }, { constraints: [] });
  expect(spec.TaskTemplate.RestartPolicy).toMatchObject({ Condition });
});

it("tells by its labels and its environment alone what it was made by, and holds no secret in a label", () => {
  const spec = serviceSpec(order, { constraints: [] });
  expect(JSON.stringify([spec.Labels, spec.TaskTemplate.ContainerSpec.Labels])).not.toContain("tr0ub4dor");
  expect(readOrder(spec.Labels, spec.TaskTemplate.ContainerSpec.Env ?? [])).toEqual(order);
});

it("has a name that a Swarm takes, however long those of stack and component are", () => {
  const long = { ref: { stack: "s".repeat(40), component: "c".repeat(40) }, id: `${"c".repeat(40)}-abcdef` };
  expect(serviceName(long)).toBe(long.id);
  expect(serviceName(order)).toBe("shop-web-abcdef");
});

it("is what is shown before anything is applied, without the values of secrets", async () => {
  const engine = new DockerEngine({ agentSocket: "/none", logsSocket: "/none", cluster: "swarm", swarm: true });
  const [shown] = engine.render(workload);
  expect(shown?.name).toBe("service shop-web");
  const text = JSON.stringify(shown?.body);
  expect(text).toContain('"Condition":"any"');
  expect(text).not.toContain("tr0ub4dor");
  expect(text).not.toContain(label.order);
  await engine.close();
});
