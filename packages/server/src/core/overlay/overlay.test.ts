// What an overlay may say of the objects of a component, and what comes out of it: the merge, what stays Berth's, and what a pod may not ask for.
import fc from "fast-check";
import type { Overlays } from "@berth/contract/overlay.ts";
import { describe, expect, it } from "vitest";
import { merged } from "./merge.ts";
import { overlaid, overlayTooLarge } from "./overlay.ts";

const main = {
  name: "web",
  image: "registry.example/web@sha256:1b",
  args: ["node", "server.js"],
  env: [
    { name: "PORT", value: "80" },
    { name: "TOKEN", valueFrom: { secretKeyRef: { name: "web--1", key: "TOKEN" } } },
  ],
  ports: [{ name: "http", containerPort: 80, protocol: "TCP" }],
  volumeMounts: [{ name: "data", mountPath: "/data" }],
  lifecycle: { preStop: { sleep: { seconds: 2 } } },
  securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
};
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: {
    namespace: "berth-shop",
    name: "web--a",
    labels: { "berth.component": "web" },
    annotations: { "berth.release-hash": "sha256:0a" },
  },
  spec: {
    replicas: 2,
    selector: { matchLabels: { "berth.component": "web" } },
    strategy: { type: "RollingUpdate" },
    template: {
      metadata: { labels: { "berth.component": "web" }, annotations: {} },
      spec: {
        containers: [main],
        volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
        restartPolicy: "Always",
        terminationGracePeriodSeconds: 12,
        automountServiceAccountToken: false,
        topologySpreadConstraints: [{ topologyKey: "kubernetes.io/hostname", maxSkew: 1 }],
        affinity: { podAntiAffinity: {} },
        securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
      },
    },
  },
};
const service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", labels: { "berth.component": "web" } },
  spec: { selector: { "berth.component": "web" }, ports: [{ name: "http", port: 80, targetPort: 80, protocol: "TCP" }] },
};
const route = {
  apiVersion: "gateway.networking.k8s.io/v1",
  kind: "HTTPRoute",
  metadata: { name: "web--http" },
  spec: {
    parentRefs: [{ name: "public" }],
    hostnames: ["web.shop.example.com"],
    rules: [
      {
        matches: [{ headers: [{ name: "berth-probe" }] }],
        filters: [{ type: "ResponseHeaderModifier" }],
        backendRefs: [{ name: "web--r7", port: 80 }],
      },
      { matches: [{ path: { value: "/" } }], backendRefs: [{ name: "web", port: 80 }] },
    ],
  },
};
const claim = {
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name: "data" },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
};

type Profile = "restricted" | "baseline" | "privileged";
const over = (overlays: Overlays, object: { kind: string } = deployment, profile: Profile = "restricted") =>
  overlaid(object, overlays, profile);
const ofPod = (spec: object): Overlays => ({ Deployment: { spec: { template: { spec } } } });
const ofMain = (container: object): Overlays => ofPod({ containers: [{ name: "web", ...container }] });
const pathsOf = (overlays: Overlays, object?: { kind: string }, profile?: Profile): string[] =>
  over(overlays, object, profile).refusals.map(({ path }) => path);
const podOf = ({ object }: { object: unknown }) => (object as typeof deployment).spec.template.spec;

describe("merging", () => {
  it("leaves alone what no part speaks of", () => {
    expect(over({ Service: { metadata: { annotations: { a: "b" } } } })).toEqual({ object: deployment, refusals: [] });
    expect(overlaid(deployment, undefined, "restricted").object).toBe(deployment);
  });

  it("merges mappings by key, lists by the names of their items, and replaces all other lists", () => {
    const out = over(
      ofPod({
        nodeSelector: { disk: "fast" },
        tolerations: [{ key: "gpu", operator: "Exists" }],
        priorityClassName: "batch",
        containers: [
          {
            name: "web",
            env: [{ name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
            lifecycle: { postStart: { exec: { command: ["true"] } } },
          },
          { name: "shipper", image: "shipper:1", volumeMounts: [{ name: "spool", mountPath: "/spool" }] },
        ],
        volumes: [{ name: "spool", emptyDir: {} }],
      }),
    );
    expect(out.refusals).toEqual([]);
    const pod = podOf(out);
    expect(pod).toMatchObject({
      nodeSelector: { disk: "fast" },
      tolerations: [{ key: "gpu" }],
      priorityClassName: "batch",
      restartPolicy: "Always",
    });
    expect(pod.volumes.map(({ name }) => name)).toEqual(["data", "spool"]);
    // The main one stays the first.
    expect(pod.containers.map(({ name }) => name)).toEqual(["web", "shipper"]);
    expect(pod.containers[0]?.env.map(({ name }) => name)).toEqual(["PORT", "TOKEN", "NODE"]);
    expect(pod.containers[0]?.lifecycle).toEqual({ preStop: { sleep: { seconds: 2 } }, postStart: { exec: { command: ["true"] } } });
  });

  it("takes away and replaces what `$patch` says, and nothing for null", () => {
    const out = over(
      ofPod({
        affinity: { $patch: "delete" },
        topologySpreadConstraints: [
          { topologyKey: "kubernetes.io/hostname", $patch: "delete" },
          { topologyKey: "rack", maxSkew: 2 },
        ],
        volumes: null,
        hostname: null,
      }),
    );
    expect(out.refusals).toEqual([]);
    expect(podOf(out)).not.toHaveProperty("affinity");
    expect(podOf(out).topologySpreadConstraints).toEqual([{ topologyKey: "rack", maxSkew: 2 }]);
    expect(podOf(out).volumes).toEqual(deployment.spec.template.spec.volumes);
    expect(podOf(over(ofPod({ securityContext: { $patch: "replace", fsGroup: 5 } })))["securityContext"]).toEqual({ fsGroup: 5 });
  });

  it("says of a list what it cannot tell apart", () => {
    expect(pathsOf(ofPod({ containers: [{ image: "x" }] }))).toEqual(["spec.template.spec.containers"]);
    expect(pathsOf(ofPod({ initContainers: ["x"] }))).toEqual(["spec.template.spec.initContainers"]);
    expect(pathsOf(ofPod({ initContainers: [{ name: "a" }, { name: "a" }] }))).toEqual(["spec.template.spec.initContainers[a]"]);
    expect(pathsOf(ofPod({ affinity: { $patch: "merge" } }))).toEqual(["spec.template.spec.affinity.$patch"]);
  });

  it("gives a container that says nothing of its rights those of the main one", () => {
    const pod = podOf(
      over(
        ofPod({
          containers: [{ name: "side", image: "x", securityContext: { runAsUser: 7 } }],
          initContainers: [{ name: "first", image: "x" }],
        }),
      ),
    );
    expect(pod.containers[1]).toMatchObject({ securityContext: { ...main.securityContext, runAsUser: 7 } });
    expect(pod).toMatchObject({ initContainers: [{ securityContext: main.securityContext }] });
  });

  it("merges one rule into each that leads users, and into none that proves a release", () => {
    const out = over({ HTTPRoute: { spec: { rules: [{ timeouts: { request: "10s" } }] } } }, route);
    expect(out.refusals).toEqual([]);
    expect((out.object as typeof route).spec.rules).toEqual([
      route.spec.rules[0],
      { ...route.spec.rules[1], timeouts: { request: "10s" } },
    ]);
  });

  it("is the same whatever order keys are written in, merged again changes nothing, and no key reaches a prototype", () => {
    const json = fc.jsonValue({ maxDepth: 4 }).filter((value) => value !== null && typeof value === "object" && !Array.isArray(value));
    fc.assert(
      fc.property(json, (value) => {
        const part = value as Record<string, unknown>;
        const once = merged("Deployment", deployment, part).tree;
        expect(merged("Deployment", once, part).tree).toEqual(once);
      }),
    );
    const hostile = JSON.parse(
      '{"spec": {"template": {"spec": {"__proto__": {"hostNetwork": true}, "constructor": {"x": 1}}}}}',
    ) as Overlays["Deployment"];
    over({ Deployment: hostile ?? {} });
    expect(({} as Record<string, unknown>)["hostNetwork"]).toBeUndefined();
  });

  it("has an end", () => {
    const deep = JSON.parse(`${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`) as Record<string, unknown>;
    expect(overlayTooLarge({ Deployment: deep })?.reason).toMatch(/deeper than 32/);
    expect(overlayTooLarge({ Deployment: { metadata: { annotations: { a: "x".repeat(70_000) } } } })?.reason).toMatch(/longer than 65536/);
    expect(overlayTooLarge(ofPod({ nodeSelector: { a: "b" } }))).toBeUndefined();
  });
});

describe("what stays Berth's", () => {
  const cases: [what: string, overlays: Overlays, path: string, object?: { kind: string }][] = [
    ["another kind", { Deployment: { kind: "DaemonSet" } }, "kind"],
    ["the name", { Deployment: { metadata: { name: "other" } } }, "metadata.name"],
    ["the namespace", { Deployment: { metadata: { namespace: "kube-system" } } }, "metadata.namespace"],
    ["owners", { Deployment: { metadata: { ownerReferences: [{ name: "x" }] } } }, "metadata.ownerReferences"],
    ["a label that is found by", { Deployment: { metadata: { labels: { "berth.component": "db" } } } }, "metadata.labels[berth.component]"],
    ["a label that is taken away", { Deployment: { metadata: { labels: { $patch: "delete" } } } }, "metadata.labels[berth.component]"],
    ["a new label of Berth's", { Deployment: { metadata: { labels: { "berth.role": "instance" } } } }, "metadata.labels[berth.role]"],
    ["a label that is no text", { Deployment: { metadata: { labels: { tier: 1 } } } }, "metadata.labels[tier]"],
    [
      "the release's hash",
      { Deployment: { metadata: { annotations: { "berth.release-hash": "x" } } } },
      "metadata.annotations[berth.release-hash]",
    ],
    [
      "a pod's label",
      { Deployment: { spec: { template: { metadata: { labels: { "berth.component": "db" } } } } } },
      "spec.template.metadata.labels[berth.component]",
    ],
    ["replicas", { Deployment: { spec: { replicas: 9 } } }, "spec.replicas"],
    ["the selector", { Deployment: { spec: { selector: { matchLabels: { a: "b" } } } } }, "spec.selector"],
    ["the way to roll over", { Deployment: { spec: { strategy: { type: "Recreate" } } } }, "spec.strategy"],
    ["a pause", { Deployment: { spec: { paused: true } } }, "spec.paused"],
    ["the restart policy", ofPod({ restartPolicy: "Never" }), "spec.template.spec.restartPolicy"],
    ["the grace period", ofPod({ terminationGracePeriodSeconds: 1 }), "spec.template.spec.terminationGracePeriodSeconds"],
    ["a deadline of the pod", ofPod({ activeDeadlineSeconds: 1 }), "spec.template.spec.activeDeadlineSeconds"],
    ["the image", ofMain({ image: "other" }), "spec.template.spec.containers[web].image"],
    ["an entrypoint", ofMain({ command: ["sh"] }), "spec.template.spec.containers[web].command"],
    ["the command", ofMain({ args: ["sh"] }), "spec.template.spec.containers[web].args"],
    ["a variable", ofMain({ env: [{ name: "PORT", value: "81" }] }), "spec.template.spec.containers[web].env[PORT]"],
    [
      "a variable that is taken away",
      ofMain({ env: [{ name: "TOKEN", $patch: "delete" }] }),
      "spec.template.spec.containers[web].env[TOKEN]",
    ],
    ["a port", ofMain({ ports: [{ containerPort: 80, name: "web" }] }), "spec.template.spec.containers[web].ports[80]"],
    [
      "a mount",
      ofMain({ volumeMounts: [{ mountPath: "/data", name: "other" }] }),
      "spec.template.spec.containers[web].volumeMounts[/data]",
    ],
    [
      "the wait before SIGTERM",
      ofMain({ lifecycle: { preStop: { sleep: { seconds: 0 } } } }),
      "spec.template.spec.containers[web].lifecycle.preStop",
    ],
    ["the main container", ofPod({ containers: [{ name: "web", $patch: "delete" }] }), "spec.template.spec.containers[web]"],
    ["all containers", ofPod({ containers: [{ $patch: "replace" }, { name: "x" }] }), "spec.template.spec.containers[web]"],
    ["a volume", ofPod({ volumes: [{ name: "data", emptyDir: {} }] }), "spec.template.spec.volumes[data]"],
    ["a Service's selector", { Service: { spec: { selector: { app: "other" } } } }, "spec.selector", service],
    ["a Service's type", { Service: { spec: { type: "LoadBalancer" } } }, "spec.type", service],
    ["addresses from outside", { Service: { spec: { externalIPs: ["10.0.0.1"] } } }, "spec.externalIPs", service],
    [
      "where a Service's port leads",
      { Service: { spec: { ports: [{ port: 80, targetPort: 22 }] } } },
      "spec.ports[80].targetPort",
      service,
    ],
    ["another port of a Service", { Service: { spec: { ports: [{ port: 22 }] } } }, "spec.ports", service],
    ["hosts", { HTTPRoute: { spec: { hostnames: ["bank.example.com"] } } }, "spec.hostnames", route],
    ["the gateway", { HTTPRoute: { spec: { parentRefs: [{ name: "other" }] } } }, "spec.parentRefs", route],
    [
      "where a rule leads",
      { HTTPRoute: { spec: { rules: [{ backendRefs: [{ name: "other", port: 1 }] }] } } },
      "spec.rules[0].backendRefs",
      route,
    ],
    ["when a rule holds", { HTTPRoute: { spec: { rules: [{ matches: [] }] } } }, "spec.rules[0].matches", route],
    ["two rules", { HTTPRoute: { spec: { rules: [{}, {}] } } }, "spec.rules", route],
    ["somebody's volume", { PersistentVolumeClaim: { spec: { volumeName: "pv-1" } } }, "spec.volumeName", claim],
  ];
  it.each(cases)("%s", (_what, overlays, path, object = deployment) => {
    const [first] = over(overlays, object, "privileged").refusals;
    expect(first?.path).toBe(path);
    expect(first?.reason).not.toBe("");
    expect(first?.way).toMatch(/\.$/);
  });

  it("but labels and annotations of others, storage, affinity of sessions and the protocol of a port are open", () => {
    expect(
      pathsOf({
        Deployment: { metadata: { labels: { tier: "front" }, annotations: { "example.com/owner": "us" } }, spec: { minReadySeconds: 3 } },
      }),
    ).toEqual([]);
    expect(
      pathsOf({ PersistentVolumeClaim: { spec: { storageClassName: "fast", resources: { requests: { storage: "10Gi" } } } } }, claim),
    ).toEqual([]);
    expect(
      pathsOf({ Service: { spec: { sessionAffinity: "ClientIP", ports: [{ port: 80, appProtocol: "kubernetes.io/h2c" }] } } }, service),
    ).toEqual([]);
  });
});

describe("what a pod may not ask for", () => {
  const side = (container: object): Overlays => ofPod({ containers: [{ name: "side", image: "x", ...container }] });
  const security = (securityContext: object): Overlays => side({ securityContext });
  const pod = "spec.template.spec";
  /** The profiles that refuse it: `privileged` never does. */
  const cases: [what: string, overlays: Overlays, path: string, profiles?: Profile[]][] = [
    ["hostNetwork", ofPod({ hostNetwork: true }), `${pod}.hostNetwork`],
    ["hostPID", ofPod({ hostPID: true }), `${pod}.hostPID`],
    ["hostIPC", ofPod({ hostIPC: true }), `${pod}.hostIPC`],
    ["hostPath", ofPod({ volumes: [{ name: "host", hostPath: { path: "/" } }] }), `${pod}.volumes[host].hostPath`],
    ["a disk of a network", ofPod({ volumes: [{ name: "nfs", nfs: { server: "x", path: "/" } }] }), `${pod}.volumes[nfs].nfs`],
    [
      "a token by a volume",
      ofPod({ volumes: [{ name: "t", projected: { sources: [{ serviceAccountToken: { path: "t" } }] } }] }),
      `${pod}.volumes[t].projected.sources.serviceAccountToken`,
    ],
    ["another account", ofPod({ serviceAccountName: "admin" }), `${pod}.serviceAccountName`],
    ["another account, by its old name", ofPod({ serviceAccount: "admin" }), `${pod}.serviceAccount`],
    ["the account's token", ofPod({ automountServiceAccountToken: true }), `${pod}.automountServiceAccountToken`],
    [
      "the account's token by what is taken away",
      ofPod({ automountServiceAccountToken: { $patch: "delete" } }),
      `${pod}.automountServiceAccountToken`,
    ],
    ["a node by its name", ofPod({ nodeName: "n1" }), `${pod}.nodeName`],
    ["the cluster's own priority", ofPod({ priorityClassName: "system-node-critical" }), `${pod}.priorityClassName`],
    [
      "a setting of the kernel",
      ofPod({ securityContext: { sysctls: [{ name: "kernel.msgmax", value: "1" }] } }),
      `${pod}.securityContext.sysctls[kernel.msgmax]`,
    ],
    [
      "no filter of system calls, for the pod",
      ofPod({ securityContext: { seccompProfile: { type: "Unconfined" } } }),
      `${pod}.securityContext.seccompProfile`,
    ],
    ["privileged", security({ privileged: true }), `${pod}.containers[side].securityContext.privileged`],
    ["privileged, as a text", security({ privileged: "true" }), `${pod}.containers[side].securityContext.privileged`],
    ["the main one privileged", ofMain({ securityContext: { privileged: true } }), `${pod}.containers[web].securityContext.privileged`],
    [
      "one that comes first",
      ofPod({ initContainers: [{ name: "a", securityContext: { privileged: true } }] }),
      `${pod}.initContainers[a].securityContext.privileged`,
    ],
    [
      "a capability",
      security({ capabilities: { drop: ["ALL"], add: ["SYS_ADMIN"] } }),
      `${pod}.containers[side].securityContext.capabilities.add[SYS_ADMIN]`,
    ],
    ["procMount", security({ procMount: "Unmasked" }), `${pod}.containers[side].securityContext.procMount`],
    [
      "no filter of system calls",
      security({ seccompProfile: { type: "Unconfined" } }),
      `${pod}.containers[side].securityContext.seccompProfile`,
    ],
    ["no AppArmor", security({ appArmorProfile: { type: "Unconfined" } }), `${pod}.containers[side].securityContext.appArmorProfile`],
    ["another type of SELinux", security({ seLinuxOptions: { type: "spc_t" } }), `${pod}.containers[side].securityContext.seLinuxOptions`],
    [
      "a process of a Windows node",
      security({ windowsOptions: { hostProcess: true } }),
      `${pod}.containers[side].securityContext.windowsOptions.hostProcess`,
    ],
    ["a port of the node", side({ ports: [{ containerPort: 80, hostPort: 80 }] }), `${pod}.containers[side].ports[80].hostPort`],
    [
      "a probe of another host",
      side({ livenessProbe: { httpGet: { host: "169.254.169.254", port: 80 } } }),
      `${pod}.containers[side].livenessProbe.httpGet.host`,
    ],
    [
      "a hook at another host",
      side({ lifecycle: { postStart: { tcpSocket: { host: "10.0.0.1", port: 80 } } } }),
      `${pod}.containers[side].lifecycle.postStart.tcpSocket.host`,
    ],
    ["root, for what is built", ofPod({ securityContext: { runAsNonRoot: false } }), `${pod}.securityContext.runAsNonRoot`, ["restricted"]],
    ["root beside what is built", security({ runAsUser: 0 }), `${pod}.containers[side].securityContext.runAsUser`, ["restricted"]],
    [
      "no filter, for what is built",
      ofPod({ securityContext: { $patch: "replace", runAsNonRoot: true } }),
      `${pod}.securityContext.seccompProfile`,
      ["restricted"],
    ],
    [
      "rights that are gained",
      ofMain({ securityContext: { allowPrivilegeEscalation: true } }),
      `${pod}.containers[web].securityContext.allowPrivilegeEscalation`,
      ["restricted"],
    ],
    [
      "rights that are kept",
      ofMain({ securityContext: { capabilities: { drop: ["NET_RAW"] } } }),
      `${pod}.containers[web].securityContext.capabilities.drop`,
      ["restricted"],
    ],
    [
      "a capability of root's",
      security({ capabilities: { drop: ["ALL"], add: ["CHOWN"] } }),
      `${pod}.containers[side].securityContext.capabilities.add[CHOWN]`,
      ["restricted"],
    ],
    ["NET_BIND_SERVICE", security({ capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] } }), "", []],
    ["a setting that is the pod's own", ofPod({ securityContext: { sysctls: [{ name: "net.ipv4.tcp_syncookies", value: "1" }] } }), "", []],
    ["memory as a volume", ofPod({ volumes: [{ name: "m", emptyDir: { medium: "Memory" } }] }), "", []],
    ["a runtime of the cluster's", ofPod({ runtimeClassName: "kata" }), "", []],
  ];
  it.each(cases)("%s", (_what, overlays, path, refusing = ["restricted", "baseline"]) => {
    for (const profile of ["restricted", "baseline", "privileged"] as const) {
      const { refusals } = over(overlays, deployment, profile);
      if (refusing.includes(profile)) {
        expect(refusals.map((one) => one.path)).toContain(path);
        expect(refusals.every(({ reason, way }) => reason !== "" && way.endsWith("."))).toBe(true);
      } else expect({ profile, refusals }).toEqual({ profile, refusals: [] });
    }
  });

  it("is looked at in runs as well", () => {
    const job = { ...deployment, kind: "Job", spec: { template: deployment.spec.template } };
    expect(pathsOf({ Job: { spec: { template: { spec: { hostNetwork: true } } } } }, job)).toEqual([`${pod}.hostNetwork`]);
    expect(pathsOf({ Job: { spec: { ttlSecondsAfterFinished: 1 } } }, job)).toEqual(["spec.ttlSecondsAfterFinished"]);
  });
});
