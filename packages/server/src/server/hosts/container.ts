// The edge's container on a Docker host: what it is made of. It belongs to the host as a process would: its network, so that it has the public ports and reaches
// every stack's network; its processes, so that it can name who holds a port; and the daemon's socket, by which it makes containers there.
import { basename, dirname, join } from "node:path";
import { hostMark, type HostFacts } from "../../core/hosts.ts";

export const edgeLabels = {
  installation: "berth.installation",
  role: "berth.role",
  cluster: "berth.cluster",
  build: "berth.edge-build",
} as const;
/** Where Berth's image has itself. */
export const imageRoot = "/opt/berth";
const programs = `${imageRoot}/dist`;
const node = "/usr/local/bin/node";
/** Where the folder of the daemon's socket is seen: the folder, since a daemon that is started again makes a new socket. */
const socketFolder = "/run/berth-daemon";

export const edgeContainerName = (installation: string, cluster: string): string => `berth-edge-${hostMark(installation)}-${cluster}`;
export const edgeConfigFile = (home: string): string => join(home, "edge", "config.json");
export const edgeRunDir = (home: string): string => join(home, "run");

export const tunnelCommand = (home: string): readonly string[] => [node, join(programs, "edge-container.js"), "tunnel", edgeRunDir(home)];

export interface EdgeSettings {
  readonly installation: string;
  readonly version: string;
  readonly cluster: string;
  readonly image: string;
  readonly facts: HostFacts;
  /** Of the server's own edge, for all edges alike. */
  readonly common: {
    readonly trustedProxies: readonly string[];
    readonly limits: Readonly<Record<string, number>>;
    readonly errorDetails: string;
    readonly hstsSeconds: number;
  };
}

/** The text of the edge's config file. */
export function edgeConfigText({ installation, version, facts, common }: EdgeSettings): string {
  const { home, httpPort, httpsPort, networks, swarm } = facts;
  return JSON.stringify({
    home,
    runDir: edgeRunDir(home),
    installation,
    version,
    router: { host: "0.0.0.0", port: httpPort, portIsDefault: false },
    https: { host: "0.0.0.0", port: httpsPort, portIsDefault: false },
    ...common,
    engine: "docker",
    agent: {
      docker: `unix://${join(socketFolder, basename(facts.socket))}`,
      ...(networks === undefined ? {} : { networks }),
      ...(swarm === true ? { swarm } : {}),
    },
  });
}

/** The body of the daemon's create call. `volumes`: where the daemon has its volumes, which the edge takes out and fills. */
export function edgeContainerBody({ installation, cluster, image, facts: { home, socket } }: EdgeSettings, volumes: string): object {
  return {
    Image: image,
    Entrypoint: [node],
    Cmd: ["--disable-sigusr1", join(programs, "edge-container.js"), "run", edgeConfigFile(home)],
    User: "0:0",
    WorkingDir: "/",
    Labels: { [edgeLabels.installation]: installation, [edgeLabels.role]: "edge", [edgeLabels.cluster]: cluster },
    // The edge ends in good order within this, s.
    StopTimeout: 30,
    HostConfig: {
      Init: true,
      NetworkMode: "host",
      PidMode: "host",
      CapAdd: ["NET_ADMIN"],
      // It reads what other users' processes hold open (proc(5)), and connects to a socket on a mount of the host's.
      SecurityOpt: ["label=disable", "apparmor=unconfined"],
      RestartPolicy: { Name: "unless-stopped" },
      Binds: [`${home}:${home}`, `${dirname(socket)}:${socketFolder}`, `${volumes}:${volumes}`],
      LogConfig: { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } },
    },
  };
}
