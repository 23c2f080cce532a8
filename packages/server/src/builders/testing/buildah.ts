// Buildah as tests use it: the machine's own program, beside a podman of the test's own.
import { missing } from "../../docker/testing/daemon.ts";
import type { DockerApi } from "../../docker/api.ts";
import { findOnPath } from "../../os/programs.ts";
import type { BuildahBuilderDeps } from "../image/buildah.ts";
import { boxPath } from "../image/buildah-box.ts";

/** Why there can be no builds by Buildah here; undefined when there can. */
export function buildahMissing(): string | undefined {
  return missing(["buildah", "runc", "slirp4netns", "pivot_root"], "buildah, runc, slirp4netns, util-linux");
}

/** What is its own of the builder's parts. */
export function testBuildah(
  api: DockerApi,
  places: { readonly folder: string; readonly stores: string },
): Pick<BuildahBuilderDeps, "program" | "slirp" | "api" | "isHere" | "folder" | "stores" | "cacheBytes"> {
  const [program = "", slirp] = ["buildah", "slirp4netns"].map((name) => findOnPath(name, boxPath));
  return { program, slirp, api, isHere: true, cacheBytes: 4e9, ...places };
}
