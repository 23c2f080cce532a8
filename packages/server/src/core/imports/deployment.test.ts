import { Value } from "typebox/value";
import { describe, expect, test } from "vitest";
import { ComponentSpec } from "@berth/contract/spec.ts";
import { releaseHash } from "../release/release.ts";
import { importedContent, planDeployment, type PlannedImport } from "./deployment.ts";
import { secretName } from "./environment.ts";
import type { Foreign, ForeignDeployment } from "./foreign.ts";

const digest = `sha256:${"a".repeat(64)}`;

function deployment(
  pod: object,
  more: { readonly metadata?: object; readonly spec?: object; readonly container?: object } = {},
): ForeignDeployment {
  return {
    metadata: { name: "web", uid: "u", generation: 3, ...more.metadata },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "server", image: "registry.test/web:1", ...more.container }], ...pod },
      },
      ...more.spec,
    },
    status: { observedGeneration: 3, replicas: 1, updatedReplicas: 1 },
  };
}

const pod = (
  name: string,
  labels: Record<string, string> = { app: "web", "pod-template-hash": "5f" },
  imageID = `registry.test/web@${digest}`,
) => ({
  metadata: { name, labels, ownerReferences: [{ kind: "ReplicaSet", name: "web-5f", controller: true }] },
  status: { containerStatuses: [{ name: "server", imageID }] },
});

const around = (more: Partial<Foreign> = {}): Foreign => ({
  namespace: "shop",
  deployments: [],
  pods: [pod("web-5f-1")],
  services: [],
  configMaps: {},
  secrets: {},
  doors: [],
  autoscalers: [],
  budgets: [],
  others: [],
  ...more,
});

const plan = (one: ForeignDeployment, foreign: Partial<Foreign> = {}, managed = false): PlannedImport =>
  planDeployment(one, around(foreign), managed);
const refusals = ({ refusals: all }: PlannedImport): string[] => all.map(({ code, params: { path = "" } }) => `${code} ${path}`.trim());

describe("a Deployment that others made", () => {
  test("is a component that says all of it, with the image by the digest that runs", () => {
    const found = plan(
      deployment(
        {
          terminationGracePeriodSeconds: 45,
          restartPolicy: "Always",
          dnsPolicy: "ClusterFirst",
          securityContext: {},
          automountServiceAccountToken: false,
        },
        {
          spec: { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: 1 } }, minReadySeconds: 5 },
          container: {
            command: ["node"],
            args: ["server.js", "--price=$$(COST)"],
            workingDir: "/srv",
            imagePullPolicy: "IfNotPresent",
            ports: [{ name: "http", containerPort: 3000 }],
            livenessProbe: { httpGet: { path: "/live", port: "http" }, periodSeconds: 20, timeoutSeconds: 2 },
            resources: { limits: { memory: "1Gi", cpu: "500m" }, requests: { cpu: "100m" } },
          },
        },
      ),
    );
    expect(refusals(found)).toEqual([]);
    expect(found.reference).toBe(`registry.test/web@${digest}`);
    expect(Value.Check(ComponentSpec, found.spec)).toBe(true);
    expect(found.spec).toMatchObject({
      kind: "worker",
      image: "registry.test/web:1",
      entrypoint: { exec: ["node"] },
      command: { exec: ["server.js", "--price=$(COST)"] },
      workdir: "/srv",
      ports: [{ name: "http", protocol: "http", port: 3000 }],
      probes: { liveness: { check: { type: "http", path: "/live", port: 3000 }, period: 20_000, timeout: 2_000, failureThreshold: 3 } },
      resources: { memory: 2 ** 30, cpu: 0.5 },
      strategy: { type: "rolling", maxUnavailable: 1, minReady: 5_000 },
      gracePeriod: 45_000,
      // What it requests is its own, too.
      kubernetes: {
        Deployment: {
          spec: {
            template: {
              metadata: { labels: { app: "web" } },
              spec: { containers: [{ name: "web", resources: { limits: { memory: "1Gi", cpu: "500m" }, requests: { cpu: "100m" } } }] },
            },
          },
        },
      },
    });
    expect(found.spec.strategy.maxSurge).toBeUndefined();
  });

  test("takes variables along by where they come from, the last of a name as its cluster counts", () => {
    const container = {
      envFrom: [
        { configMapRef: { name: "settings" } },
        { prefix: "DB_", secretRef: { name: "db" } },
        { configMapRef: { name: "no", optional: true } },
      ],
      env: [
        { name: "COLOUR", value: "red" },
        { name: "TOKEN", valueFrom: { secretKeyRef: { name: "keys", key: "api.token" } } },
        { name: "ZONE", valueFrom: { configMapKeyRef: { name: "settings", key: "zone" } } },
        { name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
      ],
    };
    const foreign = {
      configMaps: { settings: { COLOUR: "blue", SIZE: "2", zone: "a" } },
      secrets: { db: { user: "u" }, keys: { "api.token": "t" } },
    };
    const found = plan(deployment({}, { container }), foreign);
    expect(refusals(found)).toEqual([]);
    expect(found.spec.env).toEqual({ COLOUR: "red" });
    expect(found.environment.config).toEqual({ SIZE: "2", zone: "a", ZONE: "a" });
    expect(found.spec.secrets).toEqual({ DB_user: "db-user", TOKEN: secretName("keys", "api.token") });
    expect(found.spec.kubernetes?.Deployment).toMatchObject({
      spec: {
        template: {
          spec: { containers: [{ name: "web", env: [{ name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }] }] },
        },
      },
    });
    expect(importedContent(found).config).toEqual({ COLOUR: "red", SIZE: "2", zone: "a", ZONE: "a" });
    expect(JSON.stringify(importedContent(found))).not.toContain('"t"');
  });

  test("has names of secrets that no two keys share", () => {
    const names = [
      secretName("a", "b-c"),
      secretName("a", "b.c"),
      secretName("a", "B_c"),
      secretName("1", "x"),
      secretName("x".repeat(60), "y"),
    ];
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^(?!.*--)[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/);
  });

  test("leaves no field of its pods out without a word", () => {
    // Everything that Kubernetes 1.36 knows of a pod and of a container, each with a value that says something.
    const podFields = {
      activeDeadlineSeconds: 5,
      affinity: { nodeAffinity: { any: 1 } },
      dnsConfig: { nameservers: ["10.0.0.1"] },
      dnsPolicy: "None",
      hostAliases: [{ ip: "10.0.0.1" }],
      hostIPC: true,
      hostNetwork: true,
      hostPID: true,
      hostUsers: false,
      hostname: "web",
      imagePullSecrets: [{ name: "pull" }],
      initContainers: [{ name: "first" }],
      nodeName: "node1",
      nodeSelector: { disk: "ssd" },
      os: { name: "linux" },
      overhead: { cpu: "1" },
      preemptionPolicy: "Never",
      priority: 5,
      priorityClassName: "high",
      readinessGates: [{ conditionType: "x" }],
      resourceClaims: [{ name: "gpu" }],
      resources: { limits: { cpu: "1" } },
      runtimeClassName: "gvisor",
      schedulerName: "other",
      schedulingGates: [{ name: "x" }],
      securityContext: { runAsUser: 7 },
      serviceAccountName: "power",
      setHostnameAsFQDN: true,
      shareProcessNamespace: true,
      subdomain: "x",
      tolerations: [{ key: "spot" }],
      topologySpreadConstraints: [{ topologyKey: "zone" }],
      volumes: [{ name: "settings", configMap: { name: "settings" } }],
      aFieldOfTomorrow: { any: "thing" },
    };
    const containerFields = {
      lifecycle: { postStart: { exec: { command: ["true"] } } },
      resizePolicy: [{ resourceName: "cpu" }],
      restartPolicy: "Always",
      securityContext: { privileged: true },
      stdin: true,
      tty: true,
      volumeDevices: [{ devicePath: "/dev/x", name: "x" }],
      volumeMounts: [{ name: "settings", mountPath: "/etc/x" }],
      aFieldOfTomorrow: "any",
    };
    const found = plan(deployment(podFields, { container: containerFields }));
    const { spec } = ((found.spec.kubernetes?.Deployment ?? {}) as { spec: { template: { spec: Record<string, unknown> } } }).spec.template;
    const { containers, ...rest } = spec as { containers: readonly object[] };
    expect(rest).toEqual(podFields);
    expect(containers).toEqual([{ name: "web", ...containerFields }]);
  });

  test.each([
    [{ replicas: 0 }, {}, "import_stopped"],
    [{ paused: true }, {}, "import_unsettled"],
    [{ replicas: 2 }, {}, "import_unsettled"],
    [{}, { autoscalers: [{ name: "scaler", target: "web" }] }, "import_autoscaled"],
    [{}, { budgets: ["web"] }, "import_name_taken"],
    [{ selector: { matchLabels: { app: "web" }, matchExpressions: [{}] } }, {}, "import_field spec.selector.matchExpressions"],
    [{ replicas: 2 }, { pods: [pod("one"), pod("two", undefined, `registry.test/web@sha256:${"b".repeat(64)}`)] }, "import_images"],
    [{}, { pods: [pod("one", undefined, "sha256:5")] }, "import_image"],
  ] as const)("is refused as long as it stands like this: %j %j", (spec, foreign, code) => {
    expect(refusals(plan(deployment({}, { spec }), foreign))).toContain(code);
  });

  test.each([
    [{ labels: { "app.kubernetes.io/managed-by": "Helm" } }, "Helm"],
    [{ annotations: { "meta.helm.sh/release-name": "shop" } }, "Helm"],
    [{ annotations: { "argocd.argoproj.io/tracking-id": "shop" } }, "Argo CD"],
    [{ labels: { "kustomize.toolkit.fluxcd.io/name": "shop" } }, "Flux"],
  ])("that another tool manages takes a word more: %j", (metadata, tool) => {
    const one = deployment({}, { metadata });
    expect(plan(one).refusals).toEqual([{ code: "import_managed", params: { name: "web", tool } }]);
    expect(plan(one, {}, true).refusals).toEqual([]);
  });

  test.each([
    [{ env: [{ name: "URL", value: "http://$(HOST)" }] }, "import_field spec.template.spec.containers[server].env[URL]"],
    [{ args: ["$(HOST)"] }, "import_field spec.template.spec.containers[server].args"],
    [
      { env: [{ name: "A", valueFrom: { secretKeyRef: { name: "no", key: "k" } } }] },
      "import_field spec.template.spec.containers[server].env[A]",
    ],
    [{ ports: [{ containerPort: 53, protocol: "UDP" }] }, "import_field spec.template.spec.containers[server].ports[53].protocol"],
    [{ ports: [{ containerPort: 80, hostPort: 80 }] }, "import_field spec.template.spec.containers[server].ports[80].hostPort"],
  ])("with what Berth could not say is refused, with its path: %j", (container, refusal) => {
    expect(refusals(plan(deployment({}, { container })))).toContain(refusal);
  });

  test("does not lose what it mounts of claims", () => {
    expect(refusals(plan(deployment({ volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }] })))).toContain(
      "import_field spec.template.spec.volumes[data].persistentVolumeClaim",
    );
  });

  test("has the same release whenever it is looked at", () => {
    const one = plan(deployment({ nodeSelector: { disk: "ssd" } }));
    expect(releaseHash(importedContent(one))).toBe(releaseHash(importedContent(plan(deployment({ nodeSelector: { disk: "ssd" } })))));
  });
});

describe("Services that lead to it", () => {
  const container = { ports: [{ name: "http", containerPort: 3000 }] };
  const service = (name: string, ports: readonly object[], selector: Record<string, string> = { app: "web" }) =>
    ({ metadata: { name, uid: name }, spec: { selector, ports } }) as Foreign["services"][number];

  test("keep their ports, each of which leads to a number", () => {
    const found = plan(deployment({}, { container }), {
      services: [
        service("web", [{ name: "http", port: 80, targetPort: "http" }]),
        service("web-again", [{ port: 8080, targetPort: 3000 }]),
        service("other", [{ port: 1 }], { app: "db" }),
      ],
    });
    expect(refusals(found)).toEqual([]);
    expect(found.spec.ports).toEqual([{ name: "http", protocol: "http", port: 3000 }]);
    expect(found.services).toEqual([
      { name: "web", uid: "web", selector: { app: "web" }, ports: { 80: 3000 } },
      { name: "web-again", uid: "web-again", selector: { app: "web" }, ports: { 8080: 3000 } },
    ]);
  });

  test("that lead to others as well are told; those of the same name that lead elsewhere are left alone", () => {
    const stranger = { metadata: { name: "job", labels: { app: "web" } } };
    expect(
      refusals(
        plan(deployment({}, { container }), {
          pods: [pod("one"), stranger],
          services: [service("web", [{ port: 80, targetPort: "http" }])],
        }),
      ),
    ).toEqual(["import_service_shared"]);
    const elsewhere = plan(deployment({}, { container }), { services: [service("web", [{ port: 80 }], { app: "db" })] });
    expect([refusals(elsewhere), elsewhere.services]).toEqual([[], []]);
    expect(refusals(plan(deployment({}, { container }), { services: [service("web", [{ port: 3000, targetPort: 9000 }])] }))).toEqual([]);
  });

  test("are led to by doors that stay", () => {
    const doors = [{ kind: "Ingress", name: "front", services: ["web"] }];
    const { remarks } = plan(deployment({}, { container }), { doors, services: [service("web", [{ port: 80, targetPort: "http" }])] });
    expect(remarks).toContainEqual({ code: "import_door_left", params: { kind: "Ingress", name: "front", component: "web" } });
  });

  test("are found again after an import that was broken off", () => {
    const before = plan(deployment({}, { container }), { services: [service("web", [{ port: 80, targetPort: "http" }])] });
    const after = plan(deployment({}, { container }), {
      services: [service("web", [{ port: 80, targetPort: 3000 }], { "berth.component": "web", "berth.stack": "shop" })],
      pods: [{ ...pod("web-5f-1", { app: "web", "pod-template-hash": "5f", "berth.component": "web", "berth.stack": "shop" }) }],
    });
    expect(refusals(after)).toEqual([]);
    expect(releaseHash(importedContent(after))).toBe(releaseHash(importedContent(before)));
  });
});
