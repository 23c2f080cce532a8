// The only reader of process.env. Everything the server may be told lies in one typed object, with where it came from left behind.
import { readFileSync } from "node:fs";
import { homedir, totalmem } from "node:os";
import { join, resolve } from "node:path";
import type { AcmeSettings } from "./core/acme.ts";
import {
  acme,
  addresses,
  audience,
  autoOrOff,
  catalogue,
  checkedUrl,
  cluster,
  ConfigError,
  engine,
  hsts,
  level,
  networks,
  registry,
  limits,
  listen,
  whole,
  type EngineChoice,
  type EngineSettings,
  type GivenAcme,
  type Listen,
} from "./config-values.ts";
import { buildctl, buildkit, type BuildkitChoice, type GivenBuildkit } from "./config-buildkit.ts";
import { builder, type BuilderChoice, type GivenBuilder } from "./config-builder.ts";
import type { GivenCatalogue } from "./core/image/bases.ts";

export interface Config {
  /** Absolute. State lives here; see paths.ts. */
  readonly home: string;
  readonly runDir: string;
  /** undefined = the embedded PostgreSQL. */
  readonly databaseUrl: string | undefined;
  /** The local cluster that this machine is, for the servers of one database. A chosen one that belongs to another node is an error. */
  readonly cluster: { readonly name: string; readonly chosen: boolean };
  /** What this machine's cluster is made of: processes, or containers of a Docker daemon (`docker`: where that listens). */
  readonly engine: EngineChoice;
  /** Where BuildKit is, if images are built by it. */
  readonly buildkit: BuildkitChoice | undefined;
  /** BuildKit's client, for clusters that have a builder of their own; undefined: this machine has none. */
  readonly buildctl: string | undefined;
  /** What builds images. */
  readonly builder: BuilderChoice;
  /** Base images that config.json names, instead of those that were made here or that makers publish. */
  readonly images: GivenCatalogue;
  /** What images that Berth built are pushed to, `host[:port]/prefix`; undefined: they stay with the daemon that built them. */
  readonly registry: string | undefined;
  /** Berth's own image, from which the edges of Docker hosts elsewhere run. */
  readonly image: string;
  /** Where the networks of stacks come from where instances are containers; undefined = the agent's own choice. */
  readonly networks: { readonly base: string; readonly size: number } | undefined;
  readonly api: Listen;
  readonly router: Listen;
  /** Listened on while there is a certificate. */
  readonly https: Listen;
  /** Certificates are got from there for public hosts; undefined: operators give them all. */
  readonly acme: AcmeSettings | undefined;
  /** Addresses or CIDR ranges whose X-Forwarded-* the router believes. */
  readonly trustedProxies: readonly string[];
  /** Bounds of the router against clients that take more than their share, where they are not the edge's own; durations in ms. */
  readonly routerLimits: Readonly<Record<string, number>>;
  /** Who is told what is wrong behind the router's error pages; `local`: who asks this machine for a `.localhost` name. */
  readonly errorDetails: "local" | "always" | "never";
  /** Seconds for which browsers are told to stay with HTTPS; 0: they are not told. */
  readonly hstsSeconds: number;
  /** Names beyond localhost by which the API may be addressed. */
  readonly allowedHosts: readonly string[];
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly builds: {
    readonly total: number;
    readonly perStack: number;
    /** ms */ readonly deadline: number;
    /** bytes that all processes of one build may use together */ readonly memory: number;
  };
  /** `off`: bubblewrap is not used, though it is there. */
  readonly sandbox: "auto" | "off";
  /** `off`: no control groups are made, though they could be. */
  readonly cgroups: "auto" | "off";
  /** Folders from which `file:` git URLs may be fetched. */
  readonly gitFileRoots: readonly string[];
  /** Whether sources may be fetched from loopback addresses. */
  readonly gitLoopback: boolean;
  /** All that Berth's own processes are given of the environment. */
  readonly childEnv: Readonly<Record<string, string>>;
  /** PATH on which git, runtimes and build tools are found. */
  readonly systemPath: string;
  /** What builds and git need to reach the network here: proxies, certificates, registries of packages. */
  readonly networkEnv: Readonly<Record<string, string>>;
  /** Of the cluster that this server is a pod of. */
  readonly kubernetesService: { readonly host: string | undefined; readonly port: string | undefined };
  /** A service manager starts and keeps edge and database; the server only waits for them. */
  readonly managed: boolean;
  /** What of the environment the services of an installation need again, each on its own. */
  readonly service: { readonly server: Readonly<Record<string, string>>; readonly edge: Readonly<Record<string, string>> };
  readonly version: string;
}

/** Settings of the machine that tools obey and that hold no secret of Berth. */
const networkVariables = [
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "NODE_EXTRA_CA_CERTS",
  "REQUESTS_CA_BUNDLE",
  "CURL_CA_BUNDLE",
  "GIT_SSL_CAINFO",
  "PIP_INDEX_URL",
  "PIP_CERT",
  "UV_DEFAULT_INDEX",
  "UV_INDEX_URL",
  "GOPROXY",
  "GOSUMDB",
  "CARGO_HTTP_CAINFO",
  "npm_config_registry",
  "NPM_CONFIG_REGISTRY",
  "YARN_REGISTRY",
  "YARN_NPM_REGISTRY_SERVER",
];

export const version = "0.1.0";
const fallbackPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What `<home>/config.json` may say; the environment wins. */
interface ConfigFile {
  readonly databaseUrl?: string;
  readonly cluster?: string;
  readonly engine?: string;
  readonly dockerHost?: string;
  readonly swarm?: boolean;
  readonly buildkit?: GivenBuildkit;
  readonly builder?: GivenBuilder;
  readonly images?: unknown;
  readonly registry?: string;
  readonly image?: string;
  readonly networks?: unknown;
  readonly host?: string;
  readonly port?: number;
  readonly routerHost?: string;
  readonly routerPort?: number;
  readonly httpsHost?: string;
  readonly httpsPort?: number;
  readonly acme?: GivenAcme;
  readonly trustedProxies?: readonly string[];
  readonly routerLimits?: Readonly<Record<string, unknown>>;
  readonly errorDetails?: string;
  readonly hstsSeconds?: number;
  readonly allowedHosts?: readonly string[];
  readonly logLevel?: string;
  readonly buildConcurrency?: number;
  readonly buildsPerStack?: number;
  readonly buildDeadlineSeconds?: number;
  readonly gitFileRoots?: readonly string[];
  readonly gitLoopback?: boolean;
  readonly sandbox?: string;
  readonly cgroups?: string;
  readonly buildMemoryBytes?: number;
}

/** Reads environment and file. Throws ConfigError with a sentence for the terminal. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const root = process.getuid?.() === 0;
  const chosen = value(env, "BERTH_HOME");
  const home = resolve(
    chosen ??
      (root
        ? "/var/lib/berth"
        : value(env, "XDG_DATA_HOME") === undefined
          ? join(homedir(), ".berth")
          : join(value(env, "XDG_DATA_HOME") ?? "", "berth")),
  );
  const runDir =
    value(env, "BERTH_RUN") ??
    (chosen !== undefined
      ? join(home, "run")
      : root
        ? "/run/berth"
        : value(env, "XDG_RUNTIME_DIR") === undefined
          ? join(home, "run")
          : join(value(env, "XDG_RUNTIME_DIR") ?? "", "berth"));
  const file = readFile(join(home, "config.json"));
  const databaseUrl = value(env, "DATABASE_URL") ?? file.databaseUrl;
  const engineChoice = engine(engineSettings(env, file, home));
  const systemPath = value(env, "PATH") ?? fallbackPath;
  const buildkitGiven = givenBuildkit(env, file.buildkit ?? {});
  const buildkitChoice = buildkit(buildkitGiven, engineChoice, systemPath);
  return {
    home,
    runDir,
    databaseUrl: databaseUrl === undefined ? undefined : checkedUrl(databaseUrl),
    cluster: cluster(value(env, "BERTH_CLUSTER") ?? file.cluster),
    engine: engineChoice,
    buildkit: buildkitChoice,
    buildctl: buildctl(buildkitGiven.program, systemPath),
    builder: builder(givenBuilder(env, file.builder ?? {}), engineChoice, buildkitChoice, systemPath),
    images: catalogue(file.images),
    registry: registry(value(env, "BERTH_REGISTRY") ?? file.registry),
    image: value(env, "BERTH_IMAGE") ?? file.image ?? `berth:${version}`,
    networks: networks(file.networks),
    api: listen(value(env, "BERTH_HOST") ?? file.host, value(env, "BERTH_PORT") ?? file.port, 7420, "BERTH_PORT"),
    router: listen(
      value(env, "BERTH_ROUTER_HOST") ?? file.routerHost,
      value(env, "BERTH_ROUTER_PORT") ?? file.routerPort,
      8080,
      "BERTH_ROUTER_PORT",
    ),
    https: listen(
      value(env, "BERTH_HTTPS_HOST") ?? file.httpsHost ?? value(env, "BERTH_ROUTER_HOST") ?? file.routerHost,
      value(env, "BERTH_HTTPS_PORT") ?? file.httpsPort,
      8443,
      "BERTH_HTTPS_PORT",
    ),
    acme: acme(givenAcme(env, file.acme ?? {})),
    trustedProxies: addresses(
      value(env, "BERTH_TRUSTED_PROXIES")
        ?.split(",")
        .map((text) => text.trim())
        .filter((text) => text !== "") ??
        file.trustedProxies ??
        [],
    ),
    routerLimits: limits(file.routerLimits ?? {}),
    errorDetails: audience(value(env, "BERTH_ERROR_DETAILS") ?? file.errorDetails),
    hstsSeconds: hsts(value(env, "BERTH_HSTS_SECONDS") ?? file.hstsSeconds),
    allowedHosts: [
      ...(value(env, "BERTH_ALLOWED_HOSTS")
        ?.split(",")
        .map((host) => host.trim().toLowerCase())
        .filter((host) => host !== "") ??
        file.allowedHosts ??
        []),
    ],
    logLevel: level(value(env, "BERTH_LOG_LEVEL") ?? file.logLevel),
    builds: {
      total: whole(value(env, "BERTH_BUILD_CONCURRENCY") ?? file.buildConcurrency, 2, "BERTH_BUILD_CONCURRENCY"),
      perStack: whole(file.buildsPerStack, 2, "buildsPerStack"),
      deadline: whole(file.buildDeadlineSeconds, 1800, "buildDeadlineSeconds") * 1000,
      memory: whole(value(env, "BERTH_BUILD_MEMORY") ?? file.buildMemoryBytes, Math.floor(totalmem() * 0.75), "BERTH_BUILD_MEMORY"),
    },
    sandbox: autoOrOff(value(env, "BERTH_SANDBOX") ?? file.sandbox, "BERTH_SANDBOX"),
    cgroups: autoOrOff(value(env, "BERTH_CGROUPS") ?? file.cgroups, "BERTH_CGROUPS"),
    gitFileRoots:
      value(env, "BERTH_GIT_FILE_ROOTS")
        ?.split(":")
        .filter((path) => path !== "") ??
      file.gitFileRoots ??
      [],
    gitLoopback: value(env, "BERTH_GIT_LOOPBACK") === "1" || file.gitLoopback === true,
    childEnv: { PATH: value(env, "PATH") ?? fallbackPath, HOME: homedir(), LANG: "C.UTF-8" },
    systemPath,
    networkEnv: networkEnvOf(env),
    kubernetesService: { host: value(env, "KUBERNETES_SERVICE_HOST"), port: value(env, "KUBERNETES_SERVICE_PORT") },
    managed: value(env, "BERTH_MANAGED") !== undefined,
    service: {
      server: given(env, [
        "DATABASE_URL",
        "DOCKER_HOST",
        "PATH",
        ...networkVariables,
        ...Object.keys(env).filter(
          (name) => name.startsWith("BERTH_") && !["BERTH_HOME", "BERTH_RUN", "BERTH_MANAGED", "BERTH_TOKEN"].includes(name),
        ),
      ]),
      edge: given(env, [
        "BERTH_ENGINE",
        "BERTH_DOCKER_HOST",
        "BERTH_SWARM",
        "DOCKER_HOST",
        "BERTH_ROUTER_HOST",
        "BERTH_ROUTER_PORT",
        "BERTH_HTTPS_HOST",
        "BERTH_HTTPS_PORT",
        "BERTH_TRUSTED_PROXIES",
        "BERTH_ERROR_DETAILS",
        "BERTH_HSTS_SECONDS",
        "BERTH_SANDBOX",
        "BERTH_CGROUPS",
      ]),
    },
    version,
  };
}

function givenAcme(env: NodeJS.ProcessEnv, file: GivenAcme): GivenAcme {
  const from = {
    directory: value(env, "BERTH_ACME_DIRECTORY") ?? file.directory,
    contact: value(env, "BERTH_ACME_CONTACT") ?? file.contact,
    termsAgreed: value(env, "BERTH_ACME_TERMS_AGREED") === "1" ? true : file.termsAgreed,
    eabKid: value(env, "BERTH_ACME_EAB_KID") ?? file.eabKid,
    eabKey: value(env, "BERTH_ACME_EAB_KEY") ?? file.eabKey,
    challenge: value(env, "BERTH_ACME_CHALLENGE") ?? file.challenge,
    dnsHook: value(env, "BERTH_ACME_DNS_HOOK") ?? file.dnsHook,
    dnsHookSeconds: value(env, "BERTH_ACME_DNS_HOOK_SECONDS") ?? file.dnsHookSeconds,
    caFile: value(env, "BERTH_ACME_CA_FILE") ?? file.caFile,
  };
  return Object.fromEntries(Object.entries(from).filter(([, found]) => found !== undefined));
}

function givenBuildkit(env: NodeJS.ProcessEnv, file: GivenBuildkit): GivenBuildkit {
  return {
    address: value(env, "BERTH_BUILDKIT") ?? file.address,
    program: value(env, "BERTH_BUILDCTL") ?? file.program,
    certificates: value(env, "BERTH_BUILDKIT_CERTS") ?? file.certificates,
    cacheBytes: value(env, "BERTH_BUILDKIT_CACHE") ?? file.cacheBytes,
  };
}

function givenBuilder(env: NodeJS.ProcessEnv, file: GivenBuilder): GivenBuilder {
  return {
    kind: value(env, "BERTH_BUILDER") ?? file.kind,
    buildah: value(env, "BERTH_BUILDAH") ?? file.buildah,
    cacheBytes: value(env, "BERTH_BUILDAH_CACHE") ?? file.cacheBytes,
  };
}

/** What builds are told of how this machine reaches the network. */
export function networkEnvOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return given(env, networkVariables);
}

function given(env: NodeJS.ProcessEnv, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const found = value(env, name);
      return found === undefined ? [] : [[name, found]];
    }),
  );
}

function value(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const found = env[name];
  return found === undefined || found === "" ? undefined : found;
}

/** A home is of one engine for good: where nobody says it again, it is the one that it was started with. */
function engineSettings(env: NodeJS.ProcessEnv, file: ConfigFile, home: string): EngineSettings {
  const { engine: before } = readFile<{ readonly engine?: EngineChoice }>(join(home, "node.json"));
  const kind = value(env, "BERTH_ENGINE") ?? file.engine ?? before?.kind;
  const last = before?.kind === "docker" && kind === "docker" ? before : undefined;
  const swarm = value(env, "BERTH_SWARM");
  return {
    kind,
    // What runs is on the daemon of before, whatever a shell says that somebody starts it from.
    docker: value(env, "BERTH_DOCKER_HOST") ?? file.dockerHost ?? last?.docker ?? value(env, "DOCKER_HOST"),
    swarm: swarm === undefined ? (file.swarm ?? last?.swarm === true) : swarm === "1",
  };
}

function readFile<T = ConfigFile>(path: string): Partial<T> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return {};
    throw new ConfigError(
      `${path} cannot be read: ${(error as Error).message}.`,
      "Run Berth as the user whom it belongs to, or choose another home with BERTH_HOME.",
    );
  }
  try {
    return JSON.parse(text) as Partial<T>;
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${(error as Error).message}.`, "Correct it, or move it away.");
  }
}
