// What a Docker daemon knows of an image that was just built or loaded.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { DockerApi } from "../../docker/api.ts";

interface Inspected {
  readonly Id: string;
  readonly Size: number;
  readonly Config?: { readonly Entrypoint?: readonly string[] | null; readonly Cmd?: readonly string[] | null } | null;
}

export interface ImageFacts {
  readonly digest: string;
  readonly size: number;
  readonly processes: readonly string[];
}

/** `size` is bytes. A plan without processes has those of the image: `web`, when it says by itself what it starts. */
export async function imageFacts(api: DockerApi, image: string, plan: BuildPlan, signal: AbortSignal): Promise<ImageFacts> {
  const { Id, Size, Config } = await api.json<Inspected>("GET", `/images/${image}/json`, { signal });
  return { digest: Id, size: Size, processes: processesOf(plan, Config ?? {}) };
}

interface Starts {
  readonly Entrypoint?: readonly string[] | null | undefined;
  readonly Cmd?: readonly string[] | null | undefined;
}

/** By an image that starts so by itself. */
export function processesOf(plan: BuildPlan, { Entrypoint, Cmd }: Starts): readonly string[] {
  const named = Object.keys(plan.processes);
  const starts = (Entrypoint ?? []).length + (Cmd ?? []).length > 0;
  // A line for releases alone says nothing about how the image starts.
  return named.some((name) => name !== "release") || !starts ? named : ["web", ...named];
}
