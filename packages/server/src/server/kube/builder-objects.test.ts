// What a cluster is asked for when it is to build images, object by object: which rights its pod takes in each mode, who may connect to it, and that nothing secret is in any of it.
import { describe, expect, it } from "vitest";
import { builderObjects, type BuilderOrder } from "./builder-objects.ts";

const order: BuilderOrder = {
  installation: "one",
  builder: { mode: "rootless", image: "docker.io/moby/buildkit:v0.26.3-rootless", cacheGb: 20 },
  memory: 2_000_000_000,
  plainHttp: ["registry.test:5000"],
};
const privileged: BuilderOrder = { ...order, builder: { ...order.builder, mode: "privileged", image: "buildkit" } };
const labels = { "app.kubernetes.io/managed-by": "berth", "app.kubernetes.io/name": "berth-builder", "berth.builder": "builder-7692c3ad" };
const metadata = { namespace: "berth--builder", name: "builder-7692c3ad", labels, annotations: { "berth.installation": "one" } };

describe("a cluster's own builder", () => {
  it("is a namespace whose pods may make namespaces, a claim, and the settings of BuildKit", () => {
    const { namespace, claim, config } = builderObjects(order);
    expect(namespace.metadata).toEqual({
      name: "berth--builder",
      labels: { "app.kubernetes.io/managed-by": "berth", "pod-security.kubernetes.io/enforce": "privileged" },
    });
    expect(claim).toEqual({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata,
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "20G" } } },
    });
    expect(config).toMatchObject({ kind: "ConfigMap", metadata });
    expect(config.data["buildkitd.toml"]).toBe(
      [
        'root = "/home/user/.local/share/buildkit"',
        "[worker.containerd]",
        "enabled = false",
        "[worker.oci]",
        "enabled = true",
        "gc = true",
        "maxUsedSpace = 16000000000",
        '[registry."registry.test:5000"]',
        "http = true",
        "",
      ].join("\n"),
    );
  });

  it("runs as nobody in particular where it is rootless, with what that takes and nothing more", () => {
    const { deployment, revision } = builderObjects(order);
    const probe = { exec: { command: ["buildctl", "debug", "workers"] }, timeoutSeconds: 10 };
    expect(deployment).toEqual({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: {
        replicas: 1,
        revisionHistoryLimit: 0,
        strategy: { type: "Recreate" },
        selector: { matchLabels: { "berth.builder": "builder-7692c3ad" } },
        template: {
          metadata: { labels: { ...labels, "berth.revision": revision } },
          spec: {
            terminationGracePeriodSeconds: 5,
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            securityContext: { fsGroup: 1000, fsGroupChangePolicy: "OnRootMismatch" },
            containers: [
              {
                name: "buildkitd",
                image: "docker.io/moby/buildkit:v0.26.3-rootless",
                args: ["--config", "/etc/berth/buildkitd.toml", "--oci-worker-no-process-sandbox"],
                env: [{ name: "BUILDKIT_HOST", value: "unix:///run/user/1000/buildkit/buildkitd.sock" }],
                startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 120 },
                readinessProbe: { ...probe, periodSeconds: 10 },
                livenessProbe: { ...probe, periodSeconds: 30, failureThreshold: 4 },
                terminationMessagePolicy: "FallbackToLogsOnError",
                resources: { requests: { cpu: "100m", memory: "256Mi" }, limits: { memory: "2000000000" } },
                securityContext: {
                  runAsUser: 1000,
                  runAsGroup: 1000,
                  privileged: false,
                  seccompProfile: { type: "Unconfined" },
                  appArmorProfile: { type: "Unconfined" },
                },
                volumeMounts: [
                  { name: "cache", mountPath: "/home/user/.local/share" },
                  { name: "config", mountPath: "/etc/berth", readOnly: true },
                ],
              },
            ],
            volumes: [
              { name: "cache", persistentVolumeClaim: { claimName: "builder-7692c3ad" } },
              { name: "config", configMap: { name: "builder-7692c3ad" } },
            ],
          },
        },
      },
    });
  });

  it("is privileged only where that was asked for, and keeps its steps apart there", () => {
    const { deployment, config } = builderObjects(privileged);
    expect(deployment.spec).toMatchObject({
      template: {
        spec: {
          securityContext: {},
          containers: [
            {
              args: ["--config", "/etc/berth/buildkitd.toml"],
              env: [{ name: "BUILDKIT_HOST", value: "unix:///run/buildkit/buildkitd.sock" }],
              securityContext: { privileged: true },
            },
          ],
        },
      },
    });
    expect(config.data["buildkitd.toml"]).toContain('root = "/var/lib/buildkit"');
  });

  it("lets nobody in, opens no port, and cannot ask a node for its credentials", () => {
    const { policy, deployment } = builderObjects(order);
    expect(policy).toMatchObject({
      kind: "NetworkPolicy",
      spec: {
        podSelector: { matchLabels: { "berth.builder": "builder-7692c3ad" } },
        policyTypes: ["Ingress", "Egress"],
        ingress: [],
        egress: [
          { ports: [{ port: 53 }, { port: 53 }] },
          {
            to: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["169.254.0.0/16"] } }, { ipBlock: { cidr: "::/0" } }, { namespaceSelector: {} }],
          },
        ],
      },
    });
    for (const one of [order, privileged])
      expect(JSON.stringify(builderObjects(one))).not.toMatch(/tcp:\/\/|containerPort|hostNetwork|secret/i);
    expect(JSON.stringify(deployment)).not.toMatch(/hostPath|hostPID/);
  });

  it("keeps its cache on its node where there is no volume for it", () => {
    const { claim, deployment, config } = builderObjects({ ...order, builder: { ...order.builder, cacheGb: 0 } });
    expect(claim).toBeUndefined();
    expect(JSON.stringify(deployment)).toContain('{"name":"cache","emptyDir":{"sizeLimit":"20G"}}');
    expect(config.data["buildkitd.toml"]).toContain("maxUsedSpace = 10000000000\n");
  });

  it("is another revision whenever its pod or its settings are others, and an installation's own", () => {
    const revisions = [order, privileged, { ...order, plainHttp: [] }, { ...order, memory: 1 }].map((one) => builderObjects(one).revision);
    expect(new Set(revisions).size).toBe(4);
    expect(builderObjects({ ...order, plainHttp: [...order.plainHttp] }).revision).toBe(revisions[0]);
    expect(builderObjects({ ...order, installation: "two" }).deployment.metadata.name).not.toBe(metadata.name);
  });
});
