// What the chart renders, without a cluster: Helm takes it, its rights are those that the command line prints, and its pods keep to the strictest level of pod security.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { clusterRights } from "@berth/contract/clusterrights.ts";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { chart, helm, helmMissing, rendered, type Rendered } from "./helm.ts";

const missing = helmMissing();
const doors = {
  "ingress.enabled": "true",
  "ingress.tlsSecret": "berth-tls",
  "httpRoute.enabled": "true",
  "httpRoute.gateway.name": "public",
  "hosts[0]": "berth.example.com",
};
const named = (objects: readonly Rendered[], kind: string, name = "berth"): Rendered | undefined =>
  objects.find((one) => one.kind === kind && one.metadata.name === name);

describe.skipIf(missing !== undefined)(`the chart${missing === undefined ? "" : ` (${missing})`}`, () => {
  it("is taken by helm lint, with every door open too", async () => {
    expect(await helm("lint", "--strict", chart)).toContain("1 chart(s) linted, 0 chart(s) failed");
    const set = Object.entries(doors).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
    expect(await helm("lint", "--strict", chart, ...set)).toContain("0 chart(s) failed");
  });

  it("is of this version of Berth", () => {
    const read = (path: string): { readonly appVersion?: string; readonly version?: string } =>
      parse(readFileSync(join(chart, path), "utf8")) as object;
    expect(read("Chart.yaml").appVersion).toBe(read("../../package.json").version);
  });

  it.each(["berth-system", "ops"])("grants in %s what `berth clusters rbac` prints, and nothing else", async (namespace) => {
    const of = /^(ServiceAccount|Role|ClusterRole|RoleBinding|ClusterRoleBinding|Namespace|ValidatingAdmission.*)$/;
    const bare = ({ metadata: { annotations: _annotations, ...metadata }, ...one }: Rendered): object => ({ ...one, metadata });
    const key = (one: object): string => JSON.stringify(one);
    const granted = (await rendered(namespace)).filter(({ kind }) => of.test(kind)).map(bare);
    // The release's own namespace is made by Helm.
    const printed = clusterRights({ namespace, account: "berth" }).filter(
      ({ kind, metadata }) => kind !== "Namespace" || metadata.name !== namespace,
    );
    expect(granted.toSorted((a, b) => key(a).localeCompare(key(b)))).toEqual(printed.toSorted((a, b) => key(a).localeCompare(key(b))));
    expect((await rendered(namespace, { "rbac.create": "false" })).filter(({ kind }) => of.test(kind))).toEqual([]);
  });

  it("names every Secret and holds none, and runs as nobody with a root that cannot be written", async () => {
    const objects = await rendered("ops");
    expect(objects.filter(({ kind }) => kind === "Secret")).toEqual([]);
    const restricted = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } };
    const key = { name: "key", secret: { secretName: "berth-key" } };
    expect(named(objects, "StatefulSet")).toMatchObject({
      spec: {
        replicas: 2,
        template: {
          spec: {
            securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
            initContainers: [{ securityContext: restricted }],
            containers: [
              {
                securityContext: restricted,
                livenessProbe: { httpGet: { path: "/healthz" } },
                readinessProbe: { httpGet: { path: "/readyz" } },
                env: expect.arrayContaining([
                  { name: "DATABASE_URL", valueFrom: { secretKeyRef: { name: "berth-database", key: "url" } } },
                ]) as unknown,
              },
            ],
            volumes: expect.arrayContaining([
              expect.objectContaining({ name: key.name, secret: expect.objectContaining(key.secret) as unknown }),
            ]) as unknown,
          },
        },
      },
    });
  });

  it("lets one replica be taken away at a time, and has no budget for one alone", async () => {
    expect(named(await rendered("ops"), "PodDisruptionBudget")).toMatchObject({ spec: { minAvailable: 1 } });
    expect(named(await rendered("ops", { replicas: "1" }), "PodDisruptionBudget")).toBeUndefined();
  });

  it("opens doors only when they are asked for, and says what they need", async () => {
    const closed = await rendered("ops");
    expect(named(closed, "Ingress") ?? named(closed, "HTTPRoute")).toBeUndefined();
    const open = await rendered("ops", doors);
    expect(named(open, "Ingress")).toMatchObject({ spec: { rules: [{ host: "berth.example.com" }], tls: [{ secretName: "berth-tls" }] } });
    expect(named(open, "HTTPRoute")).toMatchObject({ spec: { hostnames: ["berth.example.com"], parentRefs: [{ name: "public" }] } });
    await expect(rendered("ops", { "ingress.enabled": "true" })).rejects.toMatchObject({
      output: expect.stringContaining("a door needs hosts") as string,
    });
  });
});
