// What a release becomes as a container, field by field, and that the order is read back from it whole.
import { expect, it } from "vitest";
import type { Workload } from "../engine.ts";
import { containerBody, volumeName } from "./container.ts";
import { label, labelsOf, readOrder, type ContainerOrder } from "./labels.ts";

const workload: Workload = {
  ref: { stack: "shop", component: "web" },
  stackId: "stack-1",
  kind: "web",
  releaseHash: "sha256:0a",
  releaseNumber: 7,
  artifact: { kind: "image", reference: "sha256:1b" },
  command: { exec: ["node", "server.js"] },
  workdir: "/app/sub",
  artifactEnv: { FROM_IMAGE: "1" },
  env: { DATABASE_URL: "postgres://u:tr0ub4dor@db/x", PLAIN: "a=b", EMPTY: "" },
  secretValues: ["tr0ub4dor"],
  ports: [
    { name: "http", protocol: "http" },
    { name: "admin", protocol: "tcp", port: 9000 },
  ],
  volumes: [{ volume: "data", path: "/data", readOnly: true }],
  resources: { memory: 67_108_864, cpu: 0.5, processes: 99 },
  probes: { readiness: { check: { type: "http", path: "/" } } },
  restart: "always",
  gracePeriod: 2_500,
  securityProfile: "restricted",
  tools: [],
  record: { content: { deep: ["kept", 1] } },
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
const bodyOf = (change: Partial<Workload> = {}, over: Partial<ContainerOrder> = {}) =>
  containerBody({ ...order, ...over, workload: { ...workload, ...change } }, { init: true, hosts: "/x/hosts" });

it("has every field of the workload that the daemon can obey", () => {
  const body = bodyOf();
  expect(body).toMatchObject({
    Hostname: "web-abcdef",
    Image: "sha256:1b",
    Cmd: ["node", "server.js"],
    WorkingDir: "/app/sub",
    StopTimeout: 3,
    ExposedPorts: { "8080/tcp": {}, "9000/tcp": {} },
    HostConfig: {
      RestartPolicy: { Name: "always" },
      Mounts: [
        { Type: "volume", Source: volumeName("inst-0123456789", "stack-1", "data"), Target: "/data", ReadOnly: true },
        { Type: "bind", Source: "/x/hosts", Target: "/etc/hosts", ReadOnly: true },
      ],
      PidsLimit: 99,
      Memory: 67_108_864,
      MemorySwap: 67_108_864,
      NanoCpus: 5e8,
      CapDrop: ["ALL"],
      Init: true,
    },
  });
  expect(body.Env).toEqual(
    expect.arrayContaining([
      "FROM_IMAGE=1",
      "DATABASE_URL=postgres://u:tr0ub4dor@db/x",
      "PORT=8080",
      "PORT_ADMIN=9000",
      "BERTH_VOLUME_DATA=/data",
      "BERTH_RELEASE=7",
      "BERTH_INSTANCE=web-abcdef",
    ]),
  );
  expect(Object.values(body.NetworkingConfig.EndpointsConfig)).toEqual([
    { IPAMConfig: { IPv4Address: "10.1.0.12" }, Aliases: ["web-abcdef"] },
  ]);
});

it("leaves to the image what the workload does not say", () => {
  const body = bodyOf({ command: { exec: [] }, workdir: ".", resources: {}, volumes: [] });
  expect(body).not.toHaveProperty("Cmd");
  expect(body).not.toHaveProperty("WorkingDir");
  expect(body.HostConfig).not.toHaveProperty("Memory");
  expect(bodyOf({ command: { shell: "a && b" } }).Cmd).toEqual(["/bin/sh", "-c", "a && b"]);
});

it.each([
  ["restricted", { CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"] }],
  ["baseline", { CapDrop: ["NET_RAW"] }],
  ["privileged", { Privileged: true }],
] as const)("is as free as its profile %s", (securityProfile, host) => {
  expect(bodyOf({ securityProfile }).HostConfig).toMatchObject(host);
});

it.each([
  ["always", "always"],
  ["on-failure", "on-failure"],
  ["never", "no"],
] as const)("is started again %s", (restart, name) => {
  expect(bodyOf({ restart }).HostConfig).toMatchObject({ RestartPolicy: { Name: name } });
});

it("is a task that is never started again", () => {
  const body = bodyOf({}, { task: { command: { exec: ["migrate"] }, deadline: 1_000, tty: true } });
  expect(body).toMatchObject({
    Cmd: ["migrate"],
    Tty: true,
    HostConfig: { RestartPolicy: { Name: "no" } },
    Labels: { [label.role]: "task" },
  });
});

it("tells by its labels and its environment alone what it was made by, and holds no secret in a label", () => {
  const body = bodyOf();
  expect(JSON.stringify(body.Labels)).not.toContain("tr0ub4dor");
  expect(readOrder(body.Labels, body.Env)).toEqual(order);
});

it("is left alone when another version of Berth made it", () => {
  const labels = labelsOf(order);
  expect(readOrder({ ...labels, [label.order]: JSON.stringify({ version: 2 }) }, [])).toBeUndefined();
  expect(readOrder({}, [])).toBeUndefined();
});
