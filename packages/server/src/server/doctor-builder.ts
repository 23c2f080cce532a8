// What `berth doctor` says of the builder of images.
import { renderCause } from "@berth/contract/causes.ts";
import { callBuildctl, type Buildkit } from "../builders/image/buildctl.ts";
import { buildahLacks, isPodman } from "../builders/image/choice.ts";
import type { Config } from "../config.ts";
import { DockerApi } from "../docker/api.ts";
import { parseEndpoint } from "../docker/endpoint.ts";
import { ok, type Found, type Looking } from "./doctor-check.ts";

const name = "image builder";
const why = "Nothing can be built from source; what runs goes on.";

/** None where instances are processes. */
export function imageBuilder({ engine, buildkit, builder }: Config): Looking[] {
  if (engine.kind !== "docker") return [];
  if (buildkit !== undefined) return [buildkitCheck(buildkit)];
  const next = "See whether the daemon that BERTH_DOCKER_HOST names runs, and that it may be reached.";
  return [{ name, why, next, look: (within) => daemonsOwn(engine.docker, builder, within) }];
}

const buildkitCheck = (buildkit: Buildkit): Looking => ({
  name,
  why,
  next: "Start buildkitd, or see whether BERTH_BUILDKIT leads to it; without that setting the engine's own daemon builds.",
  look: async (within) => {
    await callBuildctl(buildkit, ["debug", "workers"], within);
    return ok(`BuildKit answers at ${buildkit.address}`);
  },
});

async function daemonsOwn(address: string, builder: Config["builder"], within: AbortSignal): Promise<Found> {
  const api = new DockerApi(parseEndpoint(address));
  try {
    const podman = await isPodman(api, within);
    if (builder.kind === "docker" || (builder.kind === "auto" && !podman)) return ok("the Docker daemon builds itself");
    const lacks = buildahLacks(builder.buildah);
    if (lacks !== undefined) {
      const { sentence, next } = renderCause(lacks);
      return { status: "failed", found: sentence, next };
    }
    if (builder.slirp === undefined)
      return {
        status: "warning",
        found: `Buildah builds (${builder.buildah ?? ""}), and its steps see this machine's network`,
        next: "Install the package slirp4netns: each build gets a network of its own then.",
      };
    return ok(`Buildah builds (${builder.buildah ?? ""}), each build in a network of its own`);
  } finally {
    api.close();
  }
}
