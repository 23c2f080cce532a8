// Every builder of images, each beside a daemon of the test's own that runs what it makes: what builders promise is the same whoever keeps it.
import { createReadStream } from "node:fs";
import { join } from "node:path";
import type { Catalogue } from "../../core/image/catalogue.ts";
import { DockerApi } from "../../docker/api.ts";
import { dockerdMissing, podmanMissing, startDockerd, startPodman, type TestDaemon } from "../../docker/testing/daemon.ts";
import { importImage } from "../bases/import.ts";
import type { Builder } from "../builder.ts";
import { createBuildahBuilder, type BuildahBuilderDeps } from "../image/buildah.ts";
import { createBuildkitBuilder } from "../image/buildkit.ts";
import { createDockerBuilder } from "../image/docker.ts";
import { loadIntoDocker } from "../image/output.ts";
import type { RegistryLogin } from "../../core/image/reference.ts";
import { folderBlobs, type TestBlobs } from "./blobs.ts";
import { buildahMissing, testBuildah } from "./buildah.ts";
import { buildkitMissing, startBuildkitd, type TestBuildkit } from "./buildkit.ts";
import { debianMissing } from "./debian.ts";
import { leanTar } from "./lean.ts";
import { layoutOf } from "./ocilayout.ts";

export const imageBuilders = ["docker", "buildkit", "buildah"] as const;
export type ImageBuilderKind = (typeof imageBuilders)[number];

/** Which builders are asked how much, as pairs. */
export const entriesOf = <Kind extends ImageBuilderKind, Extent>(extents: Partial<Record<Kind, Extent>>): [Kind, Extent][] =>
  Object.entries(extents) as [Kind, Extent][];

export const base = "berth-test/debian:12";
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Why not all of them can be had here; undefined when they can. */
export const imageBuildersMissing = (): string | undefined =>
  dockerdMissing() ?? debianMissing() ?? buildkitMissing() ?? podmanMissing() ?? buildahMissing();

/** What a test may want otherwise. */
export interface Wanted {
  readonly catalogue?: Catalogue;
  readonly staticServer?: string;
  readonly logins?: readonly RegistryLogin[];
  readonly cacheBytes?: number;
  readonly memory?: number;
}

export interface ImagePlace {
  readonly api: DockerApi;
  /** Where builds have their folders; Docker's has none. */
  readonly folder: string;
  make(wanted?: Wanted): Builder;
}

export class ImageBuilders implements AsyncDisposable {
  readonly blobs: TestBlobs;
  readonly #places: ReadonlyMap<ImageBuilderKind, ImagePlace>;
  readonly #parts: readonly (TestDaemon | TestBuildkit)[];

  private constructor(blobs: TestBlobs, places: ReadonlyMap<ImageBuilderKind, ImagePlace>, parts: readonly (TestDaemon | TestBuildkit)[]) {
    this.blobs = blobs;
    this.#places = places;
    this.#parts = parts;
  }

  /** Each has the base image, with these packages. */
  static async open(dir: string, include: readonly string[] = []): Promise<ImageBuilders> {
    const tar = await leanTar(include);
    const [docker, podman, buildkitd] = await Promise.all([startDockerd(), startPodman(), startBuildkitd()]);
    const blobs = await folderBlobs(join(dir, "blobs"));
    const [api, podmanApi] = [new DockerApi(docker.endpoint), new DockerApi(podman.endpoint)];
    for (const one of [api, podmanApi]) await importImage(one, createReadStream(tar), { reference: base, env: { PATH: path } });
    const layouts = { [base]: await layoutOf(tar, { PATH: path }) };
    const common = ({ catalogue, staticServer = "" }: Wanted) => ({
      blobs,
      catalogue: () => catalogue ?? { os: base, runtimes: [], tools: [] },
      labels: { "berth.installation": "test" },
      staticServer: () => Promise.resolve(staticServer),
    });
    const folder = (name: string): string => join(dir, name);
    const places: [ImageBuilderKind, ImagePlace][] = [
      [
        "docker",
        {
          api,
          folder: folder("none"),
          make: ({ logins = [], ...wanted } = {}) =>
            createDockerBuilder({ ...common(wanted), api, logins: () => Promise.resolve(logins), ...memoryOf(wanted) }),
        },
      ],
      [
        "buildkit",
        {
          api,
          folder: folder("buildkit"),
          make: ({ logins = [], cacheBytes, ...wanted } = {}) =>
            createBuildkitBuilder({
              ...common(wanted),
              ...{ buildkit: buildkitd.buildkit, output: loadIntoDocker(api), folder: folder("buildkit"), layouts },
              logins: () => Promise.resolve({ all: logins, standard: "" }),
              ...(cacheBytes === undefined ? {} : { cacheBytes }),
            }),
        },
      ],
      [
        "buildah",
        {
          api: podmanApi,
          folder: folder("buildah"),
          make: ({ logins = [], cacheBytes, ...wanted } = {}) => {
            const own = testBuildah(podmanApi, { folder: folder("buildah"), stores: folder("stores") });
            const deps: BuildahBuilderDeps = { ...common(wanted), ...own, logins: () => Promise.resolve(logins), ...memoryOf(wanted) };
            return createBuildahBuilder(cacheBytes === undefined ? deps : { ...deps, cacheBytes });
          },
        },
      ],
    ];
    return new ImageBuilders(blobs, new Map(places), [buildkitd, docker, podman]);
  }

  of(kind: ImageBuilderKind): ImagePlace {
    const found = this.#places.get(kind);
    if (found === undefined) throw new Error(`no builder ${kind}`);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { api } of this.#places.values()) api.close();
    for (const part of this.#parts) await part[Symbol.asyncDispose]();
  }
}

const memoryOf = ({ memory }: Wanted): { readonly memory?: number } => (memory === undefined ? {} : { memory });
