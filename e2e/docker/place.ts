// A whole Berth on a dockerd or a podman of a test's own, with the one base image that its builds need.
import { createReadStream } from "node:fs";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { debianMissing } from "../../packages/server/src/builders/testing/debian.ts";
import { leanTar } from "../../packages/server/src/builders/testing/lean.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { buildahMissing } from "../../packages/server/src/builders/testing/buildah.ts";
import {
  dockerdMissing,
  podmanMissing,
  startDockerd,
  startPodman,
  type DockerdOptions,
  type TestDaemon,
} from "../../packages/server/src/docker/testing/daemon.ts";
import { TestBerth } from "../harness.ts";

/** Why there can be none here; undefined when there can. */
export const missing = dockerdMissing() ?? debianMissing();
/** For tests that promise the same of both, by their names: why there can be none here. */
export const engines: readonly (readonly [name: "docker" | "podman", missing: string | undefined])[] = [
  ["docker", missing],
  ["podman", podmanMissing() ?? buildahMissing() ?? debianMissing()],
];
/** Debian with Node.js 18. */
export const base = "berth-test/debian:12";
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export class DockerPlace implements AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly api: DockerApi;
  readonly berth: TestBerth;

  private constructor(daemon: TestDaemon, api: DockerApi, berth: TestBerth) {
    this.daemon = daemon;
    this.api = api;
    this.berth = berth;
  }

  /** `settings`: more of the server's config.json; `env`: of its environment; `prefix`: what stands before its command; `of`: of the daemon. */
  static async open(
    settings: object = {},
    env: Readonly<Record<string, string>> = {},
    { kind = "docker", prefix, ...of }: DockerdOptions & { readonly kind?: "docker" | "podman"; readonly prefix?: readonly string[] } = {},
  ): Promise<DockerPlace> {
    const daemon = await (kind === "podman" ? startPodman() : startDockerd(of));
    const api = new DockerApi(daemon.endpoint);
    try {
      await importImage(api, createReadStream(await leanTar(["nodejs"])), { reference: base, env: { PATH: path } });
      const berth = await TestBerth.start(
        { BERTH_ENGINE: "docker", BERTH_DOCKER_HOST: daemon.url, ...env },
        {
          images: { os: base, runtimes: [{ runtime: "node", version: "18", build: base, run: base }], tools: [] },
          networks: { base: daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17"), size: 25 },
          ...settings,
        },
        prefix,
      );
      return new DockerPlace(daemon, api, berth);
    } catch (error) {
      api.close();
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.berth.stop();
    this.api.close();
    await this.daemon[Symbol.asyncDispose]();
  }
}
