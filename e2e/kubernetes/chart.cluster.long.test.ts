// Berth on a real Kubernetes, by its chart: Berth's own image, a PostgreSQL outside of the cluster, two replicas under the strictest level of pod security.
// Whichever replica goes, what was written stays, and reads are answered; the one that works goes on with its home.
import { randomBytes } from "node:crypto";
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, chownSync, rmSync } from "node:fs";
import { createServer, connect, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { debianMissing, debianTar } from "../../packages/server/src/builders/testing/debian.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { dockerdMissing, startDockerd } from "../../packages/server/src/docker/testing/daemon.ts";
import { chart, helm, helmMissing } from "../../tools/chart/helm.ts";
import { ctr } from "../../tools/cluster/images.ts";
import { apply, kubectl } from "../../tools/cluster/kube.ts";
import { firstNode, nodeAddress } from "../../tools/cluster/settings.ts";
import { eventually, getFrom } from "../../tools/cluster/testing.ts";
import { buildImage } from "../../tools/image/build.ts";
import { hasPostgres, OutsidePostgres } from "../outside.ts";

const cluster = inject("cluster");
const missing = cluster.missing ?? helmMissing() ?? dockerdMissing() ?? debianMissing() ?? (hasPostgres ? undefined : "no PostgreSQL");
const namespace = `chart-${randomBytes(3).toString("hex")}`;
/** Nodes look for what begins so in themselves only. */
const image = `localhost/${namespace}:1`;
/** As the chart runs it. */
const uid = 65_532;
const args = ["--kubeconfig", cluster.kubeconfig, "--namespace", namespace];

describe.skipIf(missing !== undefined)(`Berth by its chart${missing === undefined ? "" : ` (${missing})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "berth-chart-"));
  let postgres: OutsidePostgres;
  let door: Server;
  let token = "";

  beforeAll(async () => {
    await loadBerth();
    postgres = await OutsidePostgres.make();
    await postgres.start();
    door = await openDoor(postgres.port);
    await apply(JSON.stringify(namespaceObject));
    for (const number of [0, 1]) await apply(JSON.stringify(volume(number)));
    const url = new URL(postgres.url());
    url.host = `${nodeAddress}:${String((door.address() as { port: number }).port)}`;
    const key = JSON.stringify({ current: "k000000000001", keys: { k000000000001: randomBytes(32).toString("base64") } });
    await apply([secret("berth-database", { url: url.href }), secret("berth-key", { "secrets.key": key })].join("\n---\n"));
  }, 900_000);

  afterAll(async () => {
    if (missing !== undefined) return;
    await helm("uninstall", "berth", ...args, "--ignore-not-found").catch(() => undefined);
    await kubectl(["delete", "namespace", namespace, "--timeout=120s"]);
    await kubectl(["delete", "pv", "-l", `berth-test=${namespace}`, "--timeout=60s"]);
    await ctr(firstNode, "images", "remove", image);
    door?.close();
    await postgres?.remove();
    rmSync(folder, { recursive: true, force: true });
  }, 300_000);

  test("is installed by helm install, under the restricted level of pod security", async () => {
    await helm("install", "berth", chart, ...args, ...values(), "--take-ownership", "--wait", "--timeout", "4m");
    const pods = await kubectl(["-n", namespace, "get", "pods", "-l", "app.kubernetes.io/instance=berth", "-o", "name"]);
    expect(pods.trim().split("\n").toSorted()).toEqual(["pod/berth-0", "pod/berth-1"]);
    // The first one works, the other one says that it does not.
    expect(await berth(0, "server", "status", "--json")).toContain('"cluster":"local"');
    expect(await berth(1, "server", "status", "--json")).toContain("belongs to another server");
    await berth(0, "login");
    // Its parts run: the edge and its agent answer.
    await eventually("the engine", async () => (await berth(0, "clusters", "show", "local", "--json")).includes('"reachable":true'));
    await berth(0, "stacks", "create", "shop");
    token = (JSON.parse(await berth(0, "tokens", "create", "test", "--json")) as { secret: string }).secret;
    expect(await stacks("berth")).toEqual(["shop"]);
  });

  test("answers reads while the replica that works is away, and goes on with what it had", async () => {
    await inShell(0, "echo tr0ub4dor | berth secrets set password -s shop");
    await kubectl(["-n", namespace, "delete", "pod", "berth-0", "--wait=false"]);
    await eventually("berth-0 to go", async () => !(await isReady("berth-0")));
    expect(await eventually("an answer of the other one", () => stacks("berth-all"))).toEqual(["shop"]);
    await eventually("berth-0 to be ready again", () => isReady("berth-0"), 180_000);
    expect(await berth(0, "server", "status", "--json")).toContain('"cluster":"local"');
    expect(await berth(0, "secrets", "list", "-s", "shop", "--json")).toContain('"password"');
    // What was sealed before opens: the exit code says so.
    await berth(0, "server", "key");
  });

  test("notices nothing of the other replica's end", async () => {
    await kubectl(["-n", namespace, "delete", "pod", "berth-1", "--wait=false"]);
    for (let look = 0; look < 20; look += 1) expect(await stacks("berth")).toEqual(["shop"]);
    await eventually("berth-1 to be ready again", () => isReady("berth-1"), 180_000);
  });

  test("is changed by helm upgrade, and keeps what it had", async () => {
    await helm("upgrade", "berth", chart, ...args, ...values(), "--set", "logLevel=debug", "--wait", "--timeout", "5m");
    const level = 'jsonpath={.spec.containers[0].env[?(@.name=="BERTH_LOG_LEVEL")].value}';
    for (const pod of ["berth-0", "berth-1"]) expect(await kubectl(["-n", namespace, "get", "pod", pod, "-o", level])).toBe("debug");
    expect(await eventually("an answer", () => stacks("berth"))).toEqual(["shop"]);
  });

  /** Names of the stacks, as a Service of the chart answers. */
  async function stacks(service: string): Promise<readonly string[]> {
    const address = await kubectl(["-n", namespace, "get", "service", service, "-o", "jsonpath={.spec.clusterIP}"]);
    const text = await getFrom(`http://${address}/api/v1/stacks`, service, { authorization: `Bearer ${token}` });
    return (JSON.parse(text) as { items: { name: string }[] }).items.map(({ name }) => name);
  }

  /** Berth's own image, as `npm run image` builds it, in the node's containerd. */
  async function loadBerth(): Promise<void> {
    await using daemon = await startDockerd();
    const api = new DockerApi(daemon.endpoint);
    try {
      await importImage(api, createReadStream(await debianTar(["nodejs", "iproute2"])), { reference: "berth-test/with-ip:12" });
      await buildImage(api, { tag: image, base: "berth-test/with-ip:12", onLine: () => undefined });
      const saved = join(folder, "image.tar");
      await pipeline(await api.stream("GET", `/images/${encodeURIComponent(image)}/get`, { timeout: Infinity }), createWriteStream(saved));
      await ctr(firstNode, "images", "import", saved);
      rmSync(saved);
    } finally {
      api.close();
    }
  }

  /** A folder of the node that the chart's user may write to, as most storage gives by itself. */
  function volume(number: number): object {
    const path = join(folder, `home-${String(number)}`);
    mkdirSync(path);
    chownSync(path, uid, uid);
    return {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: `${namespace}-${String(number)}`, labels: { "berth-test": namespace } },
      spec: {
        capacity: { storage: "10Gi" },
        accessModes: ["ReadWriteOnce"],
        storageClassName: namespace,
        hostPath: { path, type: "Directory" },
      },
    };
  }
});

const namespaceObject = {
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
};
const secret = (name: string, stringData: Readonly<Record<string, string>>): string =>
  JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: { namespace, name }, stringData });

function values(): string[] {
  const [repository = "", tag = ""] = image.split(":");
  const set = { "image.repository": repository, "image.tag": tag, "storage.className": namespace, "resources.requests.cpu": "50m" };
  return Object.entries(set).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
}

/** PostgreSQL listens on loopback; pods reach it here. */
async function openDoor(port: number): Promise<Server> {
  const server = createServer((client) => {
    const behind = connect(port, "127.0.0.1");
    client.on("error", () => behind.destroy()).pipe(behind);
    behind.on("error", () => client.destroy()).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, nodeAddress, resolve));
  return server;
}

const berth = (replica: number, ...command: readonly string[]): Promise<string> =>
  kubectl(["-n", namespace, "exec", `berth-${String(replica)}`, "-c", "berth", "--", "berth", ...command]);
const inShell = (replica: number, script: string): Promise<string> =>
  kubectl(["-n", namespace, "exec", `berth-${String(replica)}`, "-c", "berth", "--", "/bin/sh", "-ec", script]);

async function isReady(pod: string): Promise<boolean> {
  const path = 'jsonpath={.metadata.deletionTimestamp}{.status.conditions[?(@.type=="Ready")].status}';
  return (await kubectl(["-n", namespace, "get", "pod", pod, "--ignore-not-found", "-o", path])) === "True";
}
