// A Swarm of a test's own: each node is a dockerd with a network, processes and a name of its own, joined by a bridge of this machine. What is left of a killed test is found as
// that of other test daemons is: by its place.
import { execFileSync, type ChildProcess } from "node:child_process";
import { mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DockerApi } from "../api.ts";
import type { DockerEndpoint } from "../endpoint.ts";
import { DockerError } from "../errors.ts";
import { answering, endConfined, readLog, startConfined, storageFor } from "./daemon.ts";
import { applyFirewall, networkRules } from "./firewall.ts";
import { claimPlace, releasePlace, type Place } from "./place.ts";

export interface SwarmNode {
  readonly name: string;
  readonly id: string;
  readonly address: string;
  readonly endpoint: DockerEndpoint;
  /** `unix://...`, as for DOCKER_HOST. */
  readonly url: string;
  readonly api: DockerApi;
  /** Before a command: runs it in the node's network. */
  readonly inside: readonly string[];
  log(): string;
  /** As a power cut. */
  kill(): Promise<void>;
}

export interface TestSwarm extends AsyncDisposable {
  /** The first is the manager. */
  readonly nodes: readonly SwarmNode[];
  readonly manager: SwarmNode;
  /** All addresses of stacks come from here. */
  readonly pool: string;
  /** This machine's address among the nodes. */
  readonly outside: string;
}

/** Nodes called `node-1`, ... */
export async function startSwarm(count: number): Promise<TestSwarm> {
  const place = await claimPlace();
  const nodes: SwarmNode[] = [];
  try {
    const number = String(place.number);
    const outside = `10.${number}.0.254`;
    const bridge = `berth${number}`;
    execFileSync("ip", ["link", "add", bridge, "type", "bridge"]);
    execFileSync("ip", ["addr", "add", `${outside}/24`, "dev", bridge]);
    execFileSync("ip", ["link", "set", bridge, "up"]);
    applyFirewall(networkRules(place.number, false));
    for (let index = 1; index <= count; index += 1) nodes.push(await startNode(place, index, nodes[0]));
    const [manager] = nodes;
    if (manager === undefined) throw new TypeError("a swarm has a node");
    return {
      nodes,
      manager,
      pool: `10.${number}.128.0/17`,
      outside,
      [Symbol.asyncDispose]: async () => {
        await end(place, nodes);
      },
    };
  } catch (error) {
    await end(place, nodes);
    throw error;
  }
}

async function end(place: Place, nodes: readonly SwarmNode[]): Promise<void> {
  await Promise.all(nodes.map((node) => node.kill()));
  for (const { api } of nodes) api.close();
  await releasePlace(place);
}

async function startNode(place: Place, index: number, manager: SwarmNode | undefined): Promise<SwarmNode> {
  const folder = join(place.folder, String(index));
  const at = (name: string): string => join(folder, name);
  mkdirSync(folder, { mode: 0o711 });
  writeFileSync(at("daemon.json"), "{}");
  const name = `node-${String(index)}`;
  const address = `10.${String(place.number)}.0.${String(index)}`;
  const storage = storageFor(place, {}, folder);
  const dockerd = [
    "dockerd",
    ...["--config-file", at("daemon.json"), "--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("pid")],
    ...["--host", `unix://${at("s")}`, "--storage-driver", storage === "overlay" ? "overlay2" : storage],
    ...["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", `/${place.group}`],
    ...["--insecure-registry", `10.${String(place.number)}.0.0/24`],
  ];
  const begin = [
    `hostname ${name}`,
    "until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done",
    "ip link set lo up && ip link set eth0 up",
    `ip addr add ${address}/24 dev eth0`,
    `ip route add default via 10.${String(place.number)}.0.254`,
    'exec "$@"',
  ];
  const endpoint: DockerEndpoint = { type: "unix", path: at("s") };
  let child: ChildProcess | undefined;
  child = await startConfined(
    place,
    { kind: "dockerd", argv: ["sh", "-c", begin.join("\n"), "sh", ...dockerd], hidden: ["/etc/docker"], namespaces: ["--net", "--uts"] },
    async (started) => {
      await plug(place, index, started);
      await answering(endpoint);
    },
  );
  const api = new DockerApi(endpoint);
  const id = await joinSwarm(api, address, manager);
  return {
    name,
    id,
    address,
    endpoint,
    url: `unix://${endpoint.path}`,
    api,
    inside: ["nsenter", `--net=/proc/${String(child.pid)}/ns/net`, "--"],
    log: () => readLog(place),
    kill: async () => {
      const ending = child;
      child = undefined;
      await endConfined(ending);
    },
  };
}

/** The node's end of its link to the bridge. Its network is there a moment after its first process. */
async function plug(place: Place, index: number, child: ChildProcess): Promise<void> {
  const link = `b${String(place.number)}n${String(index)}`;
  const pid = String(child.pid);
  while (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync("/proc/self/ns/net")) await sleep(20);
  execFileSync("ip", ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pid]);
  execFileSync("ip", ["link", "set", link, "master", `berth${String(place.number)}`, "up"]);
}

async function joinSwarm(api: DockerApi, address: string, manager: SwarmNode | undefined): Promise<string> {
  if (manager === undefined) {
    await api.json("POST", "/swarm/init", { body: { ListenAddr: `${address}:2377`, AdvertiseAddr: address } });
  } else {
    const { JoinTokens } = await manager.api.json<{ readonly JoinTokens: { readonly Worker: string } }>("GET", "/swarm");
    const body = {
      ListenAddr: `${address}:2377`,
      AdvertiseAddr: address,
      RemoteAddrs: [`${manager.address}:2377`],
      JoinToken: JoinTokens.Worker,
    };
    // On a machine that is busy it takes longer than dockerd lets anybody wait, and goes on.
    await api.json("POST", "/swarm/join", { body }).catch((error: unknown) => {
      if (!(error instanceof DockerError && /will continue in the background/.test(error.message))) throw error;
    });
  }
  for (const until = performance.now() + 120_000; ; await sleep(100)) {
    const { Swarm } = await api.json<{ readonly Swarm: { readonly NodeID: string; readonly LocalNodeState: string } }>("GET", "/info");
    if (Swarm.LocalNodeState === "active") return Swarm.NodeID;
    if (performance.now() > until) throw new Error(`the node at ${address} does not join: it is ${Swarm.LocalNodeState}`);
  }
}
