// The only reader of process.env. Everything the server may be told lies in one typed object, with where it came from left behind.
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

export interface Config {
  /** Absolute. State lives here; see paths.ts. */
  readonly home: string;
  readonly runDir: string;
  /** undefined = the embedded PostgreSQL. */
  readonly databaseUrl: string | undefined;
  readonly api: Listen;
  readonly router: Listen;
  /** Names beyond localhost by which the API may be addressed. */
  readonly allowedHosts: readonly string[];
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly builds: { readonly total: number; readonly perStack: number; /** ms */ readonly deadline: number };
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
  readonly version: string;
}

/** Settings of the machine that tools obey and that hold no secret of Berth. */
const networkVariables = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_INDEX_URL", "PIP_CERT", "GOPROXY", "npm_config_registry", "NPM_CONFIG_REGISTRY"];

/** A default port that is taken moves to the next free one; a chosen one is an error. */
export interface Listen { readonly host: string; readonly port: number; readonly portIsDefault: boolean }

export const version = "0.1.0";
const fallbackPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What `<home>/config.json` may say; the environment wins. */
interface ConfigFile {
  readonly databaseUrl?: string; readonly host?: string; readonly port?: number; readonly routerHost?: string; readonly routerPort?: number; readonly allowedHosts?: readonly string[]; readonly logLevel?: string;
  readonly buildConcurrency?: number; readonly buildsPerStack?: number; readonly buildDeadlineSeconds?: number; readonly gitFileRoots?: readonly string[]; readonly gitLoopback?: boolean;
}

export class ConfigError extends Error {}

/** Reads environment and file. Throws ConfigError with a sentence for the terminal. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const root = process.getuid?.() === 0;
  const chosen = value(env, "BERTH_HOME");
  const home = resolve(chosen ?? (root ? "/var/lib/berth" : value(env, "XDG_DATA_HOME") === undefined ? join(homedir(), ".berth") : join(value(env, "XDG_DATA_HOME") ?? "", "berth")));
  const runDir = chosen !== undefined ? join(home, "run") : root ? "/run/berth" : value(env, "XDG_RUNTIME_DIR") === undefined ? join(home, "run") : join(value(env, "XDG_RUNTIME_DIR") ?? "", "berth");
  const file = readFile(join(home, "config.json"));
  const databaseUrl = value(env, "DATABASE_URL") ?? file.databaseUrl;
  return {
    home, runDir, databaseUrl,
    api: listen(value(env, "BERTH_HOST") ?? file.host, value(env, "BERTH_PORT") ?? file.port, 7420, "BERTH_PORT"),
    router: listen(value(env, "BERTH_ROUTER_HOST") ?? file.routerHost, value(env, "BERTH_ROUTER_PORT") ?? file.routerPort, 8080, "BERTH_ROUTER_PORT"),
    allowedHosts: [...(value(env, "BERTH_ALLOWED_HOSTS")?.split(",").map((host) => host.trim().toLowerCase()).filter((host) => host !== "") ?? file.allowedHosts ?? [])],
    logLevel: level(value(env, "BERTH_LOG_LEVEL") ?? file.logLevel),
    builds: { total: whole(value(env, "BERTH_BUILD_CONCURRENCY") ?? file.buildConcurrency, 2, "BERTH_BUILD_CONCURRENCY"), perStack: whole(file.buildsPerStack, 2, "buildsPerStack"), deadline: whole(file.buildDeadlineSeconds, 1800, "buildDeadlineSeconds") * 1000 },
    gitFileRoots: value(env, "BERTH_GIT_FILE_ROOTS")?.split(":").filter((path) => path !== "") ?? file.gitFileRoots ?? [],
    gitLoopback: value(env, "BERTH_GIT_LOOPBACK") === "1" || file.gitLoopback === true,
    childEnv: { PATH: value(env, "PATH") ?? fallbackPath, HOME: homedir(), LANG: "C.UTF-8" },
    systemPath: value(env, "PATH") ?? fallbackPath,
    networkEnv: Object.fromEntries(networkVariables.flatMap((name) => { const found = value(env, name); return found === undefined ? [] : [[name, found]]; })),
    version,
  };
}

function value(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const found = env[name];
  return found === undefined || found === "" ? undefined : found;
}

function readFile(path: string): ConfigFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return {};
    throw new ConfigError(`${path} cannot be read: ${(error as Error).message}`);
  }
  try {
    return JSON.parse(text) as ConfigFile;
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${(error as Error).message}`);
  }
}

function listen(host: string | undefined, port: string | number | undefined, fallback: number, name: string): Listen {
  const number = port === undefined ? fallback : Number(port);
  if (!Number.isInteger(number) || number < 0 || number > 65_535) throw new ConfigError(`${name} is no port: ${port}`);
  return { host: host ?? "127.0.0.1", port: number, portIsDefault: port === undefined };
}

function whole(given: string | number | undefined, fallback: number, name: string): number {
  const number = given === undefined ? fallback : Number(given);
  if (!Number.isInteger(number) || number < 1) throw new ConfigError(`${name} must be a whole number above 0, not ${given}`);
  return number;
}

function level(given: string | undefined): Config["logLevel"] {
  const known = (["debug", "info", "warn", "error"] as const).find((name) => name === given);
  if (given !== undefined && known === undefined) throw new ConfigError(`BERTH_LOG_LEVEL is ${given}; possible are debug, info, warn and error`);
  return known ?? "info";
}
