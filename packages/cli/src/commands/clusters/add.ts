// `berth clusters add`
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Cluster, NewCluster, NewClusterBuilder } from "@berth/contract/resources/clusters.ts";
import { choice, defineCommand, flag, integer, required, text } from "../../command.ts";
import type { Context } from "../../context.ts";
import { exitCodes, Failure, UsageError } from "../../failure.ts";
import { kubeconfigIn } from "../kubeconfig.ts";

/** ms between two looks while a host is being connected. */
const period = 500;

export const command = defineCommand({
  path: ["clusters", "add"],
  scope: "none",
  waits: true,
  summary: "Add a Docker host or a Kubernetes cluster",
  description:
    "Berth talks to a host's daemon over TLS. The edge, which takes the traffic there and watches what runs, is Berth's own image (`npm run image`); the host gets it from the server's daemon or from a registry. A Kubernetes cluster is reached as its kubeconfig says, which is kept encrypted, and serves by a gateway of its own (Gateway API); `berth clusters rbac` prints the rights that Berth needs there.",
  arguments: { cluster: required("its name, as stacks will name it") },
  options: {
    kubeconfig: text("--kubeconfig <file>", "of a Kubernetes cluster, with certificates and tokens inline; - reads standard input"),
    context: text("--context <name>", "of the kubeconfig; its current one if left out"),
    inCluster: flag("--in-cluster", "the Kubernetes cluster that Berth itself runs in, as its pod's service account"),
    gateway: text("--gateway <namespace/name>", "the Gateway that routes are attached to; may be left out where there is one"),
    address: text("--address <host:port>", "where the gateway takes requests, if its status does not say so"),
    builder: choice(
      "--builder <mode>",
      "build its images there, by a BuildKit of its own: rootless, or privileged where its nodes refuse that",
      ["rootless", "privileged"],
    ),
    builderImage: text("--builder-image <name>", "BuildKit's image; the one of its makers for the mode if left out"),
    builderCache: integer("--builder-cache <GB>", "its volume for what later builds reuse; 20 if left out, 0 for no volume"),
    docker: text("--docker <endpoint>", "where a Docker host's daemon listens, as in DOCKER_HOST: tcp://host:2376"),
    tls: text("--tls <folder>", "folder with ca.pem, cert.pem and key.pem, as in DOCKER_CERT_PATH"),
    domain: text("--domain <name>", "components without a host of their own are reached at <component>.<stack>.<name>"),
    httpPort: integer("--http-port <port>", "where users come in; 80 if left out"),
    httpsPort: integer("--https-port <port>", "where users come in with TLS; 443 if left out"),
    networks: text("--networks <range>", "addresses for the networks of stacks, and the length of each: 10.64.0.0/12,22"),
    swarm: flag("--swarm", "it is the manager of a Swarm: instances are services, on any of its nodes"),
    home: text("--home <folder>", "the edge's folder on the host"),
    socket: text("--socket <path>", "the daemon's socket on the host; /var/run/docker.sock if left out"),
  },
  examples: [
    ["berth clusters add fra1 --docker tcp://fra1.example.com:2376 --tls ~/.docker/fra1 --domain fra1.example.com", "a server elsewhere"],
    ["berth clusters add prod --kubeconfig ~/.kube/config --context prod --domain apps.example.com", "a Kubernetes cluster"],
    [
      "berth clusters add prod --kubeconfig berth.kubeconfig --domain apps.example.com --builder rootless",
      "one that builds its images itself",
    ],
    ["berth stacks create shop --cluster fra1", "a stack that lives there"],
  ],
  async run(ctx, { arguments: { cluster }, options }) {
    const body = await bodyOf(ctx, cluster, options);
    const api = await ctx.api();
    let added = await api.addCluster({ body }, { signal: ctx.signal });
    let told = "";
    while (ctx.settings.wait && stateOf(added)?.connected !== true) {
      const reason = stateOf(added)?.reason ?? "it is being connected";
      if (reason !== told) ctx.out.progress(`${cluster}: ${reason}`);
      told = reason;
      await delay(period, undefined, { signal: ctx.signal }).catch(() => ctx.signal.throwIfAborted());
      added = await api.showCluster({ params: { cluster } }, { signal: ctx.signal });
    }
    show(ctx, added);
  },
});

const stateOf = ({ host, kubernetes }: Cluster): Cluster["host"] | Cluster["kubernetes"] => host ?? kubernetes;

function show(ctx: Context, added: Cluster): void {
  const { name, domain, host, kubernetes, ...rest } = added;
  if (ctx.out.json) ctx.out.object({ name, domain, host, kubernetes, ...rest });
  else if (stateOf(added)?.connected !== true) ctx.out.line(`${name} is added; \`berth clusters show ${name}\` says when it is connected.`);
  else {
    const door =
      kubernetes === undefined
        ? `its edge answers on port ${String(host?.httpPort ?? 80)}`
        : `gateway ${kubernetes.gateway} answers at ${kubernetes.address}`;
    ctx.out.line(`${name} is connected; ${door}, for *.${domain}. Next: berth stacks create NAME --cluster ${name}`);
  }
}

interface Given {
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly inCluster: boolean | undefined;
  readonly gateway: string | undefined;
  readonly address: string | undefined;
  readonly builder: NewClusterBuilder["mode"] | undefined;
  readonly builderImage: string | undefined;
  readonly builderCache: number | undefined;
  readonly docker: string | undefined;
  readonly tls: string | undefined;
  readonly domain: string | undefined;
  readonly httpPort: number | undefined;
  readonly httpsPort: number | undefined;
  readonly networks: string | undefined;
  readonly swarm: boolean | undefined;
  readonly home: string | undefined;
  readonly socket: string | undefined;
}

async function bodyOf(
  ctx: Context,
  name: string,
  { kubeconfig, context, inCluster, gateway, address, builder, builderImage, builderCache, ...host }: Given,
): Promise<NewCluster> {
  const built = builderOf(builder, builderImage, builderCache);
  const kubernetes = Object.fromEntries(
    Object.entries({ context, gateway, address, builder: built }).filter(([, value]) => value !== undefined),
  );
  if (kubeconfig === undefined && inCluster !== true) {
    const [first] = Object.keys(kubernetes);
    if (first !== undefined) throw new UsageError(`--${first} belongs to a Kubernetes cluster.`, "Name its kubeconfig: --kubeconfig FILE.");
    return hostOf(name, host);
  }
  if (kubeconfig !== undefined && inCluster === true)
    throw new UsageError("Either --kubeconfig or --in-cluster.", "The pod's own cluster needs no kubeconfig.");
  const { domain, ...others } = host;
  const [foreign] = Object.entries(others).flatMap(([option, value]) => (value === undefined || value === false ? [] : [option]));
  if (foreign !== undefined)
    throw new UsageError(
      `--${foreign.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} belongs to a Docker host.`,
      "Leave it out, or --kubeconfig.",
    );
  return {
    name,
    ...(domain === undefined ? {} : { domain }),
    kubernetes: { ...kubernetes, ...(kubeconfig === undefined ? {} : { kubeconfig: await kubeconfigIn(ctx, kubeconfig) }) },
  };
}

function builderOf(
  mode: NewClusterBuilder["mode"] | undefined,
  image: string | undefined,
  cacheGb: number | undefined,
): NewClusterBuilder | undefined {
  if (mode === undefined) {
    if (image === undefined && cacheGb === undefined) return undefined;
    throw new UsageError(
      `--builder-${image === undefined ? "cache" : "image"} belongs to a builder.`,
      "Ask for one: --builder rootless, or --builder privileged.",
    );
  }
  return { mode, ...(image === undefined ? {} : { image }), ...(cacheGb === undefined ? {} : { cacheGb }) };
}

type GivenHost = Omit<Given, "kubeconfig" | "context" | "inCluster" | "gateway" | "address" | "builder" | "builderImage" | "builderCache">;

async function hostOf(name: string, { docker, tls, networks, ...rest }: GivenHost): Promise<NewCluster> {
  if (docker === undefined)
    throw new UsageError("What is it?", "A Docker host (--docker tcp://host:2376), or a Kubernetes cluster (--kubeconfig FILE).");
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return {
    name,
    endpoint: docker,
    ...(tls === undefined ? {} : await pems(tls)),
    ...given,
    ...(networks === undefined ? {} : { networks: poolOf(networks) }),
  };
}

async function pems(folder: string): Promise<Pick<NewCluster, "ca" | "cert" | "key">> {
  const read = (name: string): Promise<string> =>
    readFile(join(folder, name), "utf8").catch((error: unknown) => {
      throw new Failure(
        exitCodes.failed,
        `${join(folder, name)} cannot be read: ${error instanceof Error ? error.message : String(error)}.`,
        { next: "Name the folder that has ca.pem, cert.pem and key.pem: --tls <folder>.", cause: error },
      );
    });
  const [ca, cert, key] = await Promise.all([read("ca.pem"), read("cert.pem"), read("key.pem")]);
  return { ca, cert, key };
}

function poolOf(text_: string): NonNullable<NewCluster["networks"]> {
  const [base, size, ...more] = text_.split(",");
  if (base === undefined || size === undefined || more.length > 0 || !/^\d{1,2}$/.test(size))
    throw new UsageError(`${text_} is no range of networks.`, "Write it as 10.64.0.0/12,22.");
  return { base, size: Number(size) };
}
