// `berth clusters add`
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Cluster, NewCluster } from "@berth/contract/resources/clusters.ts";
import { defineCommand, flag, integer, required, text } from "../../command.ts";
import type { Context } from "../../context.ts";
import { exitCodes, Failure, UsageError } from "../../failure.ts";

/** ms between two looks while a host is being connected. */
const period = 500;

export const command = defineCommand({
  path: ["clusters", "add"],
  scope: "none",
  waits: true,
  summary: "Add a Docker host as a cluster: its edge is put there and connected",
  description:
    "Berth talks to the host's daemon over TLS. The edge, which takes the traffic there and watches what runs, is Berth's own image (`npm run image`); the host gets it from the server's daemon or from a registry.",
  arguments: { cluster: required("its name, as stacks will name it") },
  options: {
    docker: text("--docker <endpoint>", "where its daemon listens, as in DOCKER_HOST: tcp://host:2376"),
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
    ["berth stacks create shop --cluster fra1", "a stack that lives there"],
  ],
  async run(ctx, { arguments: { cluster }, options }) {
    const body = await bodyOf(cluster, options);
    const api = await ctx.api();
    let added = await api.addCluster({ body }, { signal: ctx.signal });
    let told = "";
    while (ctx.settings.wait && added.host?.connected !== true) {
      const reason = added.host?.reason ?? "it is being connected";
      if (reason !== told) ctx.out.progress(`${cluster}: ${reason}`);
      told = reason;
      await delay(period, undefined, { signal: ctx.signal }).catch(() => ctx.signal.throwIfAborted());
      added = await api.showCluster({ params: { cluster } }, { signal: ctx.signal });
    }
    show(ctx, added);
  },
});

function show(ctx: Context, { name, domain, host, ...rest }: Cluster): void {
  if (ctx.out.json) ctx.out.object({ name, domain, host, ...rest });
  else if (host?.connected === true)
    ctx.out.line(
      `${name} is connected; its edge answers on port ${String(host.httpPort)}, for *.${domain}. Next: berth stacks create NAME --cluster ${name}`,
    );
  else ctx.out.line(`${name} is added; \`berth clusters show ${name}\` says when it is connected.`);
}

interface Given {
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

async function bodyOf(name: string, { docker, tls, networks, ...rest }: Given): Promise<NewCluster> {
  if (docker === undefined) throw new UsageError("Where does its daemon listen?", "Name it as in DOCKER_HOST: --docker tcp://host:2376.");
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
