// Where images are built by BuildKit instead of the engine's own daemon.
import { delimiter, isAbsolute, join } from "node:path";
import { ConfigError, type EngineChoice } from "./config-values.ts";
import { findOnPath, isExecutable } from "./os/programs.ts";

export interface BuildkitChoice {
  /** The client's program, by its absolute path. */
  readonly program: string;
  /** `unix:///run/buildkit/buildkitd.sock`, `tcp://host:1234`. */
  readonly address: string;
  /** Files of certificates, for TCP. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Bytes that its cache may keep after a build; undefined: as buildkitd is configured. */
  readonly cacheBytes?: number;
}

/** As environment and file have it. */
export interface GivenBuildkit {
  readonly address?: string | undefined;
  readonly program?: string | undefined;
  /** A folder with `ca.pem`, `cert.pem` and `key.pem`. */
  readonly certificates?: string | undefined;
  readonly cacheBytes?: string | number | undefined;
}

/** undefined where nobody asked for it. Throws ConfigError. */
export function buildkit(given: GivenBuildkit, engine: EngineChoice, path: string): BuildkitChoice | undefined {
  const { address, certificates } = given;
  if (address === undefined) return undefined;
  if (engine.kind !== "docker")
    throw new ConfigError("BERTH_BUILDKIT is set, and nothing here runs images.", "Set BERTH_ENGINE=docker as well, or remove it.");
  const url = /^(?:unix:\/\/\/|tcp:\/\/)./.test(address) ? URL.parse(address) : null;
  if (url === null)
    throw new ConfigError(
      `BERTH_BUILDKIT is no address of a buildkitd: ${address}.`,
      "Write it as unix:///run/buildkit/buildkitd.sock or tcp://HOST:1234.",
    );
  if (certificates === undefined && url.protocol === "tcp:" && !/^(?:localhost|127(?:[.][0-9]+){3}|\[::1\])$/.test(url.hostname))
    throw new ConfigError(
      `BERTH_BUILDKIT leads to ${url.hostname} without encryption: sources and build secrets could be read on the way.`,
      "Name a folder with ca.pem, cert.pem and key.pem in BERTH_BUILDKIT_CERTS.",
    );
  if (certificates !== undefined && !isAbsolute(certificates))
    throw new ConfigError(
      `BERTH_BUILDKIT_CERTS is ${certificates}.`,
      "Write the whole path of a folder with ca.pem, cert.pem and key.pem.",
    );
  const cacheBytes = given.cacheBytes === undefined ? undefined : Number(given.cacheBytes);
  if (cacheBytes !== undefined && (!Number.isSafeInteger(cacheBytes) || cacheBytes <= 0))
    throw new ConfigError(`BERTH_BUILDKIT_CACHE is ${String(given.cacheBytes)}.`, "Write a number of bytes.");
  return {
    program: programOf(given.program, path),
    address,
    ...(certificates === undefined
      ? {}
      : { tls: { ca: join(certificates, "ca.pem"), cert: join(certificates, "cert.pem"), key: join(certificates, "key.pem") } }),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
  };
}

/** The client's program where there is one, whoever is to be spoken to. Throws ConfigError for one that is named and is none. */
export function buildctl(given: string | undefined, path: string): string | undefined {
  return given === undefined ? onPath(path) : programOf(given, path);
}

const onPath = (path: string): string | undefined => findOnPath("buildctl", path.split(delimiter).filter(isAbsolute).join(delimiter));

function programOf(given: string | undefined, path: string): string {
  const named = given ?? onPath(path);
  const found = named !== undefined && isAbsolute(named) && isExecutable(named) ? named : undefined;
  if (found !== undefined) return found;
  throw new ConfigError(
    given === undefined ? "BERTH_BUILDKIT is set, and there is no buildctl on the PATH." : `BERTH_BUILDCTL is no program: ${given}.`,
    "Install BuildKit's client and name it by its whole path in BERTH_BUILDCTL.",
  );
}
