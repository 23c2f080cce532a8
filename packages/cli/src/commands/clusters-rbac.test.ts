// What `berth clusters rbac` prints, without a server. That it is enough, and no more than that, is shown on a real cluster by the engine's own tests.
import { clusterRights } from "@berth/contract/clusterrights.ts";
import { afterEach, beforeEach, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { Cli } from "../testing/cli.ts";

let cli: Cli;
beforeEach(async () => {
  cli = await Cli.create();
});
afterEach(() => cli.remove());

it("prints the objects as YAML, with the way to a kubeconfig in two lines above them", async () => {
  const { code, out, err } = await cli.run("clusters rbac --namespace ops --account harbour");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const objects = parseAllDocuments(out).map((document) => document.toJS() as unknown);
  expect(objects).toEqual(clusterRights({ namespace: "ops", account: "harbour" }));
  const lines = out.split("\n").filter((line) => line.startsWith("# kubectl"));
  expect(lines).toHaveLength(2);
  expect(lines[0]).toContain("kubectl -n ops create token harbour");
  expect(JSON.parse((await cli.run("clusters rbac --json")).out)).toMatchObject({ kind: "List", items: { length: 9 } });
});

it("grants rights over builders only where one is wanted, in their own namespace, and reads no Secret there", async () => {
  expect((await cli.run("clusters rbac")).out).not.toContain("berth--builder");
  const { items } = JSON.parse((await cli.run("clusters rbac --builder --json")).out) as {
    items: { kind: string; metadata: { name: string; namespace?: string; labels: Record<string, string> } }[];
  };
  const own = items.filter(({ metadata }) => metadata.namespace === "berth--builder" || metadata.name === "berth--builder");
  expect(own.map(({ kind }) => kind)).toEqual(["Namespace", "Role", "RoleBinding"]);
  expect(own[0]?.metadata.labels).toMatchObject({ "pod-security.kubernetes.io/enforce": "privileged" });
  expect(JSON.stringify(own)).not.toContain("secrets");
});

it("grants no Secret across the cluster, nothing by a star, and binds one role", () => {
  const rights = clusterRights({ namespace: "berth-system", account: "berth" });
  const [across] = rights.filter(({ kind, metadata }) => kind === "ClusterRole" && metadata.name === "berth");
  expect(JSON.stringify(across)).not.toContain("secrets");
  expect(JSON.stringify(rights)).not.toContain('"*"');
  expect(rights.filter(({ kind }) => kind === "ClusterRoleBinding")).toMatchObject([{ roleRef: { name: "berth" } }]);
});

it("refuses what can be no name in a cluster", async () => {
  for (const name of ["Ops", "a.b", "-a", "a".repeat(64)]) {
    const { code, err } = await cli.run(`clusters rbac --namespace=${name}`);
    expect(code).toBe(2);
    expect(err).toContain(`${JSON.stringify(name)} can be no name in a cluster.`);
  }
});
