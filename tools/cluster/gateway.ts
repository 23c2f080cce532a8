// The Gateway API and its controller, Traefik, as a process on the node: it reaches pods by their bridge, and users reach it at the node's address.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { moduleSources } from "../../packages/server/src/os/testing/go.ts";
import { flagsOf } from "./control-plane.ts";
import { startDaemon, until } from "./daemons.ts";
import { apply, kubectl, read } from "./kube.ts";
import { program } from "./programs.ts";
import { api, at, nodeAddress, ports } from "./settings.ts";

const version = "1.4.0";
/** Every class of the cluster has this name; routes of all namespaces may use the gateway `public` in `default`. */
const manifests = [
  {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "GatewayClass",
    metadata: { name: "traefik" },
    spec: { controllerName: "traefik.io/gateway-controller" },
  },
  {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name: "public", namespace: "default" },
    spec: {
      gatewayClassName: "traefik",
      listeners: [{ name: "web", protocol: "HTTP", port: ports.gateway, allowedRoutes: { namespaces: { from: "All" } } }],
    },
  },
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "IngressClass",
    metadata: { name: "traefik" },
    spec: { controller: "traefik.io/ingress-controller" },
  },
];

/** Rejects when the gateway is not programmed in time; see `until`. */
export async function startGateway(): Promise<void> {
  await applyDefinitions();
  const status = `127.0.0.1:${String(ports.gatewayStatus)}`;
  const flags = {
    "entrypoints.web.address": `${nodeAddress}:${String(ports.gateway)}`,
    "entrypoints.traefik.address": status,
    "providers.kubernetesgateway": true,
    "providers.kubernetesgateway.endpoint": api,
    "providers.kubernetesgateway.statusaddress.ip": nodeAddress,
    "providers.kubernetesingress": true,
    "providers.kubernetesingress.endpoint": api,
    // Its default, 2 s, delays every change of weights by as much.
    "providers.providersthrottleduration": "200ms",
    ping: true,
    "metrics.prometheus": true,
    "metrics.prometheus.addserviceslabels": true,
    "metrics.prometheus.addrouterslabels": true,
    "global.checknewversion": false,
    "global.sendanonymoususage": false,
    "log.level": "INFO",
  };
  await startDaemon({
    name: "traefik",
    argv: [await program("traefik", "traefik"), ...flagsOf(flags)],
    env: { KUBECONFIG: at("pki", "admin.kubeconfig") },
  });
  await until("answer of the gateway", ["traefik"], async () => (await fetch(`http://${status}/ping`)).ok);
  // What a definition defines is known a little after it is established.
  await until("Gateway API", ["kube-apiserver"], async () => {
    await apply(manifests.map((each) => JSON.stringify(each)).join("\n---\n"));
    return true;
  });
  await until("programmed gateway", ["traefik"], isProgrammed);
}

/** The custom resource definitions, as the module of the Gateway API ships them. */
async function applyDefinitions(): Promise<void> {
  const folder = join(await moduleSources("sigs.k8s.io/gateway-api", version), "config", "crd", "standard");
  const files = readdirSync(folder).filter((name) => name.endsWith(".yaml") && name !== "kustomization.yaml");
  await apply(files.map((name) => readFileSync(join(folder, name), "utf8")).join("\n---\n"));
  await kubectl(["wait", "--for=condition=Established", "--timeout=120s", "crd/httproutes.gateway.networking.k8s.io"]);
}

async function isProgrammed(): Promise<boolean> {
  const path = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/public";
  const gateway = await read<{ status?: { conditions?: { type: string; status: string }[] } }>(path);
  return gateway?.status?.conditions?.some(({ type, status }) => type === "Programmed" && status === "True") ?? false;
}
