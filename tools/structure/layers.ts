// The layers of the source and who may import whom. A file belongs to the first layer whose pattern fits; `mayImport` leaves out the layer itself.

export type LayerName =
  | "contract"
  | "cli"
  | "web"
  | "core"
  | "settings"
  | "os"
  | "telemetry"
  | "ports"
  | "sandbox"
  | "docker"
  | "kubernetes"
  | "edge-protocol"
  | "engines"
  | "builders"
  | "edge"
  | "db"
  | "blobs"
  | "resources"
  | "reconcile"
  | "http"
  | "app"
  | "main";

interface Layer {
  readonly where: RegExp;
  readonly mayImport: readonly LayerName[];
}

const server = (rest: string): RegExp => new RegExp(`^packages/server/src/${rest}`);
const base: readonly LayerName[] = ["contract", "core", "os", "telemetry"];
const below: readonly LayerName[] = [...base, "ports", "engines", "builders", "edge", "db", "blobs"];

export const layers: Readonly<Record<LayerName, Layer>> = {
  contract: { where: /^packages\/contract\/src\//, mayImport: [] },
  cli: { where: /^packages\/cli\/src\//, mayImport: ["contract"] },
  web: { where: /^packages\/web\/src\//, mayImport: ["contract"] },
  core: { where: server("core/"), mayImport: ["contract"] },
  settings: { where: server("(config|config-builder|config-buildkit|config-values|paths)\\.ts$"), mayImport: [...base, "docker"] },
  // What this machine's kernel tells and keeps: processes, whole files, locks.
  os: { where: server("os/"), mayImport: [] },
  telemetry: { where: server("telemetry/"), mayImport: ["contract", "core"] },
  ports: { where: server("engines/(engine|exitcause|traffic|workload|written)\\.ts$"), mayImport: ["contract", "core"] },
  // How programs of tenants are kept apart: instances and builds alike.
  sandbox: { where: server("sandbox/"), mayImport: base },
  // Calls to a Docker daemon, for the engine and the builder alike.
  docker: { where: server("docker/"), mayImport: ["contract", "core", "os"] },
  // Calls to a Kubernetes API.
  kubernetes: { where: server("kubernetes/"), mayImport: ["contract", "core"] },
  // What an agent and its engine say to each other, and write on what they make, belongs to neither.
  "edge-protocol": {
    where: server(
      "(engines/(agent/(archive|order|protocol)|docker/(container|labels|service)|local/(tools|shims))|edge/(messages|ipc|probe-header))\\.ts$",
    ),
    mayImport: [...base, "ports"],
  },
  engines: { where: server("engines/"), mayImport: [...base, "ports", "edge-protocol", "docker", "kubernetes"] },
  builders: { where: server("builders/"), mayImport: [...base, "ports", "sandbox", "docker"] },
  edge: { where: server("edge/"), mayImport: [...base, "ports", "edge-protocol", "sandbox", "docker"] },
  db: { where: server("db/"), mayImport: base },
  blobs: { where: server("blobs/"), mayImport: base },
  resources: { where: server("resources/"), mayImport: [...below, "reconcile"] },
  reconcile: { where: server("reconcile/"), mayImport: [...below, "resources"] },
  http: { where: server("http/"), mayImport: [...below, "resources", "reconcile"] },
  // The composition root and the parts of the process: the only place that constructs things.
  app: {
    where: server("((app|work)\\.ts$|server/)"),
    mayImport: [...below, "edge-protocol", "sandbox", "docker", "kubernetes", "resources", "reconcile", "http", "settings"],
  },
  main: { where: server("(main|work-thread)\\.ts$"), mayImport: [...below, "resources", "reconcile", "http", "app", "settings"] },
};

/** What core may use of Node.js and npm: nothing that reads a file, a socket, a clock or chance. */
export const pureModules: Readonly<Record<string, "all" | readonly string[]>> = {
  "node:crypto": ["createHash", "createHmac", "timingSafeEqual", "createPrivateKey", "KeyObject", "X509Certificate"],
  "node:net": ["isIP", "isIPv4", "isIPv6", "BlockList", "SocketAddress"],
  "node:path/posix": "all",
  "node:util": ["isDeepStrictEqual"],
  croner: "all",
  ignore: "all",
  semver: "all",
  "smol-toml": "all",
  typebox: "all",
  "typebox/value": "all",
  yaml: "all",
};
