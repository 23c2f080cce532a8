// Which builder makes images where instances are containers.
import { delimiter, isAbsolute } from "node:path";
import type { BuildkitChoice } from "./config-buildkit.ts";
import { ConfigError, type EngineChoice } from "./config-values.ts";
import { findOnPath, isExecutable } from "./os/programs.ts";

const kinds = ["auto", "docker", "buildkit", "buildah"] as const;

export interface BuilderChoice {
  /** `auto`: BuildKit where its address is set; else the daemon itself where that is Docker, and Buildah where it is podman. */
  readonly kind: (typeof kinds)[number];
  /** Of Buildah, by its absolute path; undefined: this machine has none. */
  readonly buildah: string | undefined;
  /** Gives the steps of Buildah's builds a network of their own; undefined: they have the machine's. */
  readonly slirp: string | undefined;
  /** Bytes that Buildah may keep for later builds. */
  readonly cacheBytes: number;
}

/** As environment and file have it. */
export interface GivenBuilder {
  readonly kind?: string | undefined;
  readonly buildah?: string | undefined;
  readonly cacheBytes?: string | number | undefined;
}

/** Throws ConfigError. */
export function builder(given: GivenBuilder, engine: EngineChoice, buildkit: BuildkitChoice | undefined, path: string): BuilderChoice {
  const kind = kinds.find((one) => one === (given.kind ?? "auto"));
  if (kind === undefined) throw new ConfigError(`BERTH_BUILDER is ${given.kind ?? ""}.`, `It is one of ${kinds.join(", ")}.`);
  if (kind !== "auto" && engine.kind !== "docker")
    throw new ConfigError("BERTH_BUILDER is set, and nothing here runs images.", "Set BERTH_ENGINE=docker as well, or remove it.");
  if (kind === "buildkit" && buildkit === undefined)
    throw new ConfigError("BERTH_BUILDER is buildkit, and no BuildKit is named.", "Write its address in BERTH_BUILDKIT.");
  if (kind !== "auto" && kind !== "buildkit" && buildkit !== undefined)
    throw new ConfigError(`BERTH_BUILDER is ${kind}, and BERTH_BUILDKIT names a BuildKit.`, "Remove one of the two.");
  const search = path.split(delimiter).filter(isAbsolute).join(delimiter);
  const { buildah } = given;
  if (buildah !== undefined && !(isAbsolute(buildah) && isExecutable(buildah)))
    throw new ConfigError(
      `BERTH_BUILDAH is no program: ${buildah}.`,
      "Name Buildah by its whole path, or remove the setting to have it looked for.",
    );
  const program = buildah ?? findOnPath("buildah", search);
  if (kind === "buildah" && program === undefined)
    throw new ConfigError(
      "BERTH_BUILDER is buildah, and there is no buildah on the PATH.",
      "Install the package buildah, or name the program in BERTH_BUILDAH.",
    );
  const cacheBytes = Number(given.cacheBytes ?? 20e9);
  if (!Number.isSafeInteger(cacheBytes) || cacheBytes <= 0)
    throw new ConfigError(`BERTH_BUILDAH_CACHE is ${String(given.cacheBytes)}.`, "Write a number of bytes.");
  return { kind, buildah: program, slirp: findOnPath("slirp4netns", search), cacheBytes };
}
