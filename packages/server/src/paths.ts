// Where everything lies below the home folder. The one list of these names.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Paths {
  readonly home: string;
  readonly run: string;
  readonly serverFile: string;
  readonly serverLock: string;
  readonly installationFile: string;
  readonly nodeFile: string;
  readonly adminToken: string;
  readonly serverLog: string;
  readonly edgeLog: string;
  readonly edgeConfig: string;
  readonly edgeSocket: string;
  readonly agentSocket: string;
  readonly logsSocket: string;
  readonly blobs: string;
  readonly buildLogs: string;
  readonly secretsKey: string;
  readonly auditKey: string;
  readonly tmp: string;
  /** Sources while images are built of them. */
  readonly imageBuilds: string;
  /** What Buildah keeps for later builds, a folder for each stack. */
  readonly imageStores: string;
  /** Base images that were made here: their record, and where they are made. */
  readonly images: string;
  readonly bases: string;
  readonly compiled: string;
}

export function pathsOf(home: string, run: string): Paths {
  return {
    home,
    run,
    serverFile: join(home, "server.json"),
    serverLock: join(home, "server.lock"),
    installationFile: join(home, "installation.json"),
    nodeFile: join(home, "node.json"),
    adminToken: join(home, "admin-token"),
    serverLog: join(home, "logs", "server.log"),
    edgeLog: join(home, "logs", "edge.log"),
    edgeConfig: join(home, "edge", "config.json"),
    edgeSocket: join(run, "edge.sock"),
    agentSocket: join(run, "agent.sock"),
    logsSocket: join(run, "logs.sock"),
    blobs: join(home, "blobs"),
    buildLogs: join(home, "logs", "builds"),
    secretsKey: join(home, "secrets.key"),
    auditKey: join(home, "audit.key"),
    tmp: join(home, "tmp"),
    imageBuilds: join(home, "image-builds"),
    imageStores: join(home, "image-stores"),
    images: join(home, "images"),
    bases: join(home, "images", "bases.json"),
    compiled: join(home, "compiled"),
  };
}

/** Where the sockets of an edge elsewhere are reached here; `dial` leads to addresses there. */
export interface HostSockets {
  readonly edge: string;
  readonly agent: string;
  readonly logs: string;
  readonly dial: string;
  /** Of a moment, to make two ends of a tunnel. */
  readonly pair: string;
}

/** Short, since the path of a unix socket is bounded: the name of a cluster may not fit in. */
export function hostSockets({ run }: Pick<Paths, "run">, cluster: string): HostSockets {
  const short = createHash("sha256").update(cluster).digest("hex").slice(0, 8);
  const at = (name: string): string => join(run, `${short}-${name}`);
  return { edge: at("edge"), agent: at("agent"), logs: at("logs"), dial: at("dial"), pair: at("pair") };
}

/** What builds in a cluster elsewhere: the socket that leads to it, and the folder of sources meanwhile. Short, as above. */
export function builderPlace(
  paths: Pick<Paths, "run" | "imageBuilds">,
  cluster: string,
): { readonly socket: string; readonly builds: string } {
  const short = createHash("sha256").update(cluster).digest("hex").slice(0, 8);
  return { socket: join(paths.run, `${short}-build`), builds: `${paths.imageBuilds}-${short}` };
}

/** Migrations lie beside the bundle, or in the package in a checkout. */
export function migrationsFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = join(here, "migrations");
  return existsSync(bundled) ? bundled : join(here, "..", "migrations");
}
