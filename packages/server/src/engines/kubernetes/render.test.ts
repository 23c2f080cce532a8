// What a release becomes in a cluster: every field of it reaches an object, secrets stand in Secrets alone, and the order is read back whole.
import { expect, it } from "vitest";
import type { TrackTarget, Workload } from "../engine.ts";
import { readWorkload, type WrittenWorkload } from "../written.ts";
import { mark } from "./names.ts";
import type { Deployment, Job } from "./objects.ts";
import { podTemplate, secretOf } from "./pod.ts";
import { renderedOf, standingOf } from "./render.ts";
import { deploymentOf, isEndless, jobName, jobOf, revisionFor } from "./slots.ts";
import { levelKey, levelOf } from "./surroundings.ts";
import { taskJob } from "./tasks.ts";
import { claimOf } from "./volumes.ts";

const check = { type: "http", path: "/health", port: 9000, headers: { "x-from": "kubelet" } } as const;
const times = { initialDelay: 1_000, period: 2_000, timeout: 3_000, successThreshold: 4, failureThreshold: 5 };
const workload: Workload = {
  ref: { stack: "shop", component: "web" },
  stackId: "stack-1",
  kind: "web",
  releaseHash: "sha256:0a",
  releaseNumber: 7,
  artifact: { kind: "image", reference: "registry.example/web@sha256:1b", entrypoint: ["/init"] },
  command: { exec: ["node", "server.js"] },
  workdir: "/app/sub",
  artifactEnv: { FROM_IMAGE: "1" },
  env: { DATABASE_URL: "postgres://u:tr0ub4dor@db/x", PLAIN: "a=$(HOME)", EMPTY: "" },
  secretValues: ["tr0ub4dor"],
  ports: [
    { name: "http", protocol: "http" },
    { name: "admin", protocol: "tcp", port: 9000 },
  ],
  volumes: [{ volume: "data", path: "/data", readOnly: true }],
  resources: { memory: 67_108_864, cpu: 0.5 },
  probes: { startup: { check, ...times }, readiness: { check, ...times }, liveness: { check, ...times, successThreshold: 1 } },
  restart: "always",
  gracePeriod: 2_000,
  securityProfile: "restricted",
  kubernetes: { Deployment: { spec: { template: { spec: { tolerations: [{ key: "gpu", operator: "Exists" }] } } } } },
  tools: [],
  record: { content: { deep: ["kept", 1] } },
};
const targetOf = (over: Partial<Workload> = {}, more: Partial<TrackTarget> = {}): TrackTarget => {
  const changed = { ...workload, ...over };
  return { ref: changed.ref, track: "stable", workload: changed, restart: 3, replicas: 2, ...more };
};
const objectsOf = (target: TrackTarget): unknown[] => [
  isEndless(target)
    ? deploymentOf("inst", target, "a")
    : jobOf("inst", target, jobName(target.workload.ref.component, revisionFor(target), "0")),
  secretOf("inst", target.workload),
  ...target.workload.volumes.map(({ volume }) => claimOf("inst", target.workload, volume)),
];
/** Without what is only written down to be read back: a field has to be in what runs. */
const textOf = (target: TrackTarget): string =>
  JSON.stringify(objectsOf(target), (key, value: unknown) => (key === mark.order ? undefined : value));

/** Fields that no object has, and why. */
const withoutObject: ReadonlyMap<string, string> = new Map([
  ["kind", "which objects there are is the engine's choice by `restart`; what a kind is to users is the control plane's"],
  ["ports.1.protocol", "containers speak TCP; what is spoken over it is a route's matter"],
  ["ports.0.protocol", "the same; it decides which port PORT names"],
  ["probes.liveness.successThreshold", "Kubernetes allows 1 alone"],
  ["probes.startup.successThreshold", "Kubernetes allows 1 alone"],
  ["record.content.deep.0", "kept for adoption, in the order"],
  ["record.content.deep.1", "kept for adoption, in the order"],
]);

function* leaves(
  value: unknown,
  path: readonly string[] = [],
): Generator<readonly [path: readonly string[], value: string | number | boolean]> {
  if (typeof value === "object" && value !== null) for (const [name, inner] of Object.entries(value)) yield* leaves(inner, [...path, name]);
  else if (value !== undefined) yield [path, value as string | number | boolean];
}
const others: Readonly<Record<string, unknown>> = { restart: "never", securityProfile: "baseline", type: "tcp" };
function changedAt(path: readonly string[], value: string | number | boolean): Workload {
  const copy = structuredClone(workload) as unknown as Record<string, unknown>;
  const last = path.at(-1) ?? "";
  let at = copy;
  for (const name of path.slice(0, -1)) at = at[name] as Record<string, unknown>;
  at[last] = others[last] ?? (typeof value === "string" ? `${value}x` : typeof value === "number" ? value + 1 : !value);
  return copy as unknown as Workload;
}

it("has every field of a workload in some object", () => {
  const before = textOf(targetOf());
  const unseen = [...leaves(workload)]
    .filter(([path]) => path.join(".") !== "artifact.kind")
    .filter(([path, value]) => textOf(targetOf(changedAt(path, value))) === before)
    .map(([path]) => path.join("."));
  expect(unseen.filter((path) => !withoutObject.has(path))).toEqual([]);
  expect([...withoutObject.keys()].filter((path) => !unseen.includes(path))).toEqual([]);
});

it("has its revision, its replicas and its track on the Deployment of a slot, whose pods are found by the slot alone", () => {
  const one = deploymentOf("inst", targetOf({}, { track: "candidate" }), "b");
  expect(one).toMatchObject({
    metadata: {
      namespace: "berth-shop",
      name: "web--b",
      labels: { [mark.slot]: "b", [mark.track]: "candidate", [mark.release]: "7", "app.kubernetes.io/name": "web" },
    },
    spec: { replicas: 2, selector: { matchLabels: { [mark.stack]: "shop", [mark.component]: "web", [mark.slot]: "b" } } },
  });
  const revisions = [
    targetOf(),
    targetOf({}, { restart: 4 }),
    targetOf({}, { track: "candidate" }),
    targetOf({ releaseHash: "sha256:0b" }),
  ].map(revisionFor);
  expect(new Set(revisions).size).toBe(4);
  const names = Object.values(one.metadata.labels ?? {});
  expect(names.every((value) => /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/.test(value))).toBe(true);
});

it("has secret values in an immutable Secret that is named by what it says, and nowhere else", () => {
  const text = JSON.stringify(deploymentOf("inst", targetOf(), "a"));
  expect(text).not.toContain("tr0ub4dor");
  const secret = secretOf("inst", workload);
  expect(secret?.data).toEqual({ DATABASE_URL: workload.env["DATABASE_URL"] });
  const [container] = podTemplate({ installation: "inst", workload, track: "stable", restart: 0 }).spec.containers;
  expect(container.env).toContainEqual({ name: "DATABASE_URL", valueFrom: { secretKeyRef: { name: secret?.name, key: "DATABASE_URL" } } });
  // What Kubernetes would replace is written so that it does not.
  expect(container.env).toContainEqual({ name: "PLAIN", value: "a=$$(HOME)" });
  expect(secretOf("inst", { ...workload, secretValues: [] })).toBeUndefined();
  expect(secretOf("inst", { ...workload, env: { ...workload.env, DATABASE_URL: "x tr0ub4dor" } })?.name).not.toBe(secret?.name);
});

it("is read back whole, from the order on its Deployment and the variables of its pod", () => {
  const { metadata } = deploymentOf("inst", targetOf(), "a") as Deployment & Job;
  const written = JSON.parse(metadata.annotations?.[mark.order] ?? "") as WrittenWorkload;
  expect(readWorkload(written, new Map(Object.entries(workload.env)))).toEqual(workload);
});

it("is a Job where it may end: once, or until it ends well; and a task never twice", () => {
  const never = jobOf("inst", targetOf({ restart: "never" }), "web--0");
  expect(never).toMatchObject({ spec: { backoffLimit: 0, template: { spec: { restartPolicy: "Never" } } } });
  const often = jobOf("inst", targetOf({ restart: "on-failure" }), "web--0");
  expect(often).toMatchObject({ spec: { backoffLimit: 2_147_483_647, template: { spec: { restartPolicy: "OnFailure" } } } });
  const run = { id: "run-1", workload, command: { shell: "make" }, deadline: 1_500, tty: false } as const;
  const task = taskJob("inst", run);
  expect(task).toMatchObject({
    spec: { backoffLimit: 0, podReplacementPolicy: "Failed", activeDeadlineSeconds: 2, template: { spec: { restartPolicy: "Never" } } },
  });
  expect(task.spec.template.spec.containers[0]).toMatchObject({ args: ["/bin/sh", "-c", "make"] });
  expect(task.spec.template.spec.containers[0]).not.toHaveProperty("readinessProbe");
  expect(task.metadata.name).toBe(taskJob("inst", { ...run, deadline: 9 }).metadata.name);
  expect(task.metadata.name).not.toBe(taskJob("inst", { ...run, id: "run-2" }).metadata.name);
});

it("keeps programs apart from the cluster, by what their profile says", () => {
  const specOf = (securityProfile: Workload["securityProfile"]) =>
    podTemplate({ installation: "inst", workload: { ...workload, securityProfile }, track: "stable", restart: 0 }).spec;
  for (const profile of ["restricted", "baseline", "privileged"] as const)
    expect(specOf(profile)).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
  expect(specOf("restricted")).toMatchObject({
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    containers: [{ securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } } }],
  });
  expect(specOf("baseline")).toMatchObject({ containers: [{ securityContext: { capabilities: { drop: ["NET_RAW"] } } }] });
  expect(specOf("privileged")).toMatchObject({ containers: [{ securityContext: { privileged: true } }] });
});

it("shows what surrounds it: the namespace with its level, who may connect, and what may be taken away at once", () => {
  const several = { ...standingOf(workload), target: targetOf() };
  const shown = renderedOf("inst", several, { namespaces: ["gateway"], addresses: ["10.0.0.0/24"] });
  expect(shown.map(({ name }) => name)).toEqual([
    "Namespace berth-shop",
    "NetworkPolicy berth-stack",
    "Deployment web--a",
    "PodDisruptionBudget web",
    expect.stringMatching(/^Secret web--/),
    "PersistentVolumeClaim data",
  ]);
  const [namespace, policy, , budget] = shown.map(({ body }) => body);
  expect(namespace).toMatchObject({ metadata: { labels: { "pod-security.kubernetes.io/enforce": "baseline" } } });
  expect(policy).toMatchObject({
    spec: {
      podSelector: {},
      policyTypes: ["Ingress"],
      ingress: [
        {
          from: [
            { podSelector: {} },
            { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "gateway" } } },
            { ipBlock: { cidr: "10.0.0.0/24" } },
          ],
        },
      ],
    },
  });
  expect(budget).toMatchObject({
    spec: { maxUnavailable: 1, selector: { matchLabels: { [mark.component]: "web", [mark.track]: "stable" } } },
  });
  // Until somebody says who leads users in, only other stacks are kept out.
  expect(renderedOf("inst", several)[1]?.body).toMatchObject({
    spec: { ingress: [{ from: [{}, { namespaceSelector: { matchExpressions: [{ key: mark.stack, operator: "DoesNotExist" }] } }] }] },
  });
  const names = (target: TrackTarget) => renderedOf("inst", { ...several, target }).map(({ name }) => name);
  expect(names(targetOf({ restart: "never" }))).not.toContain("PodDisruptionBudget web");
  expect(names(targetOf({}, { replicas: 1 }))).not.toContain("PodDisruptionBudget web");
  expect(names(targetOf({}, { replicas: 0 })).filter((name) => name.startsWith("Deployment"))).toEqual([]);
  // What its values are is nowhere, and which were left out is said.
  expect(shown[4]).toMatchObject({ body: { immutable: true }, hidden: ["data.DATABASE_URL"] });
  expect(JSON.stringify(shown)).not.toContain("tr0ub4dor");
});

it("raises the level of a namespace, never lowers it, and leaves one that somebody else has set", () => {
  const found = (level?: string, ours?: string) => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name: "berth-shop",
      labels: level === undefined ? {} : { [levelKey]: level },
      annotations: ours === undefined ? {} : { [mark.level]: ours },
    },
  });
  expect(levelOf(undefined, "baseline")).toBe("baseline");
  expect(levelOf(found("baseline", "baseline"), "privileged")).toBe("privileged");
  expect(levelOf(found("privileged", "privileged"), "baseline")).toBe("privileged");
  expect(levelOf(found("restricted", "baseline"), "privileged")).toBeUndefined();
  expect(levelOf(found(undefined, "baseline"), "privileged")).toBeUndefined();
});

it("keeps all of its memory free and a part of its cpu, and goes to different nodes and zones", () => {
  const { spec } = podTemplate({ installation: "inst", workload, track: "stable", restart: 0 });
  expect(spec.containers[0]).toMatchObject({
    resources: { limits: { memory: "67108864", cpu: "500m" }, requests: { memory: "67108864", cpu: "125m" } },
  });
  const least = podTemplate({ installation: "inst", workload: { ...workload, resources: { cpu: 0.01 } }, track: "stable", restart: 0 });
  expect(least.spec.containers[0]).toMatchObject({ resources: { limits: { cpu: "10m" }, requests: { cpu: "10m" } } });
  expect(spec).toMatchObject({
    topologySpreadConstraints: [{ topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "ScheduleAnyway", maxSkew: 1 }],
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [{ podAffinityTerm: { topologyKey: "topology.kubernetes.io/zone" } }],
      },
    },
  });
});
