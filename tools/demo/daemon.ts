// What the demo leaves with a Docker daemon, and takes away again: only what carries this installation's label or stands in its own record of base images.
import { existsSync, readFileSync } from "node:fs";
import { readBases } from "../../packages/server/src/builders/bases/record.ts";
import type { MadeBase } from "../../packages/server/src/core/image/bases.ts";
import { readConfig } from "../../packages/server/src/config.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { parseEndpoint } from "../../packages/server/src/docker/endpoint.ts";
import { DockerError } from "../../packages/server/src/docker/errors.ts";
import { pathsOf } from "../../packages/server/src/paths.ts";

/** Collected while the home is there, because the home says it. */
export interface Leftovers {
  readonly docker: string;
  readonly installation: string | undefined;
  readonly bases: readonly MadeBase[];
}

/** undefined where instances are processes. */
export function leftovers(): Leftovers | undefined {
  const config = readConfig();
  if (config.engine.kind !== "docker") return undefined;
  const paths = pathsOf(config.home, config.runDir);
  const installation = existsSync(paths.installationFile)
    ? (JSON.parse(readFileSync(paths.installationFile, "utf8")) as { readonly id?: string }).id
    : undefined;
  const { bases } = readBases(paths.bases);
  return { docker: config.engine.docker, installation, bases };
}

/** Containers, networks, volumes and images of the installation, then its base images. Answers how many images went. */
export async function removeLeftovers({ docker, installation, bases }: Leftovers): Promise<number> {
  const api = new DockerApi(parseEndpoint(docker));
  const gone = async (path: string, query = {}): Promise<void> => {
    try {
      await api.json("DELETE", path, { query });
    } catch (error) {
      // 404: gone already; 409: somebody built on it, or uses it.
      if (!(error instanceof DockerError && (error.status === 404 || error.status === 409))) throw error;
    }
  };
  try {
    let images = 0;
    if (installation !== undefined) {
      const filters = JSON.stringify({ label: [`berth.installation=${installation}`] });
      const query = { all: true, filters };
      for (const { Id } of await api.json<{ Id: string }[]>("GET", "/containers/json", { query }))
        await gone(`/containers/${Id}`, { force: true });
      for (const { Id } of await api.json<{ Id: string }[]>("GET", "/networks", { query: { filters } })) await gone(`/networks/${Id}`);
      const { Volumes } = await api.json<{ Volumes: { Name: string }[] | null }>("GET", "/volumes", { query: { filters } });
      for (const { Name } of Volumes ?? []) await gone(`/volumes/${Name}`);
      for (const { RepoTags, Id } of await api.json<{ Id: string; RepoTags: string[] | null }[]>("GET", "/images/json", {
        query: { filters },
      })) {
        for (const name of RepoTags ?? [Id]) await gone(`/images/${name}`);
        images += 1;
      }
    }
    // Builds of a runtime stand on what programs run in, and that on the operating system; stages of builds, which have no name, on all of them.
    for (const { name, line, version, build, run } of [...bases].reverse()) {
      const filters = JSON.stringify({ dangling: ["true"], label: [`berth.base=${name}`, `berth.base.version=${line}-${version}`] });
      for (const { Id } of await api.json<{ Id: string }[]>("GET", "/images/json", { query: { filters } })) await gone(`/images/${Id}`);
      await gone(`/images/${build.reference}`);
      if (run !== undefined) await gone(`/images/${run.reference}`);
    }
    return images + bases.length;
  } finally {
    api.close();
  }
}
