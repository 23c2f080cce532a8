// The builder of images where nobody named one: Docker's daemon builds itself, podman's does not, and which of them listens is only known once it answers.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { DockerApi } from "../../docker/api.ts";
import type { Builder } from "../builder.ts";
import { missingForBuildah } from "./buildah-box.ts";

export interface Choice {
  readonly api: DockerApi;
  readonly docker: Builder;
  /** undefined: this machine has no Buildah. */
  readonly buildah: Builder | undefined;
  /** Why that is so. */
  readonly lacks: Cause | undefined;
}

/** Whether the daemon is podman's service. Throws DockerError. */
export async function isPodman(api: DockerApi, signal?: AbortSignal): Promise<boolean> {
  interface Version {
    readonly Components?: readonly { readonly Name: string }[];
  }
  const { Components = [] } = await api.json<Version>("GET", "/version", signal === undefined ? {} : { signal });
  return Components.some(({ Name }) => /podman/i.test(Name));
}

/** Why no images can be built on a podman host here; undefined when they can. `program`: Buildah's, when there is one. */
export function buildahLacks(program: string | undefined): Cause | undefined {
  const lacks = missingForBuildah(program);
  return lacks.length === 0
    ? undefined
    : cause("image_builder_missing", { engine: "podman", missing: `Buildah lacks ${lacks.join(", ")}` });
}

/** Cause where there is none: `image_builder_missing`. */
export function chooseBuilder({ api, docker, buildah, lacks }: Choice): Builder {
  let known: boolean | undefined;
  const find = async (signal?: AbortSignal): Promise<Builder | Cause> => {
    known ??= await isPodman(api, signal);
    return known ? (buildah ?? lacks ?? docker) : docker;
  };
  const all = buildah === undefined ? [docker] : [docker, buildah];
  return {
    kind: "image",
    check: async (plan: BuildPlan, stackId) => {
      const found = await find();
      return "code" in found ? found : found.check(plan, stackId);
    },
    build: async (request, onEvent, signal) => {
      const found = await find(signal);
      return "code" in found ? { ok: false, cause: found } : found.build(request, onEvent, signal);
    },
    attest: async (request, built, signal) => {
      const found = await find(signal);
      if ("code" in found || found.attest === undefined) throw new Error("the daemon is another one than the one that built it");
      return found.attest(request, built, signal);
    },
    // What one of them kept may be there from before the daemon was another's.
    forget: async (stackId) => {
      for (const one of all) await one.forget(stackId);
    },
    sweep: async (isActive) => {
      for (const one of all) await one.sweep(isActive);
    },
  };
}
