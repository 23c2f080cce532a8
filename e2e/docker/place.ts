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
import { TestBerth, until as waited } from "../harness.ts";

/** Why there can be none here; undefined when there can. */
export const missing = dockerdMissing() ?? debianMissing();
/** For tests that promise the same of both, by their names: why there can be none here. */
export const engines: readonly (readonly [name: "docker" | "podman", missing: string | undefined])[] = [
  ["docker", missing],
  ["podman", podmanMissing() ?? buildahMissing() ?? debianMissing()],
];
/** As elsewhere, with the time that containers and images take on a machine that is busy with much else. */
export const until: typeof waited = (look, what, within = 120_000, evidence, period) => waited(look, what, within, evidence, period);
/** Whether the doctor finds nothing that has failed: a check that is not answered within its seconds has, for that time. */
export async function foundWhole(berth: TestBerth): Promise<void> {
  let failed: readonly object[] = [];
  await until(
    async () => {
      failed = (await berth.client.runDoctor()).checks.filter((check) => check.status === "failed");
      return failed.length === 0 ? true : undefined;
    },
    "the doctor to find nothing that has failed",
    undefined,
    () => JSON.stringify(failed),
  );
}
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

  /** `settings`: more of the server's config.json; `envOf`: of its environment, beside that daemon; `prefix`: what stands before its command; `of`: of the daemon. */
  static async open(
    settings: object = {},
    envOf: Readonly<Record<string, string>> | ((daemon: TestDaemon) => Readonly<Record<string, string>>) = {},
    { kind = "docker", prefix, ...of }: DockerdOptions & { readonly kind?: "docker" | "podman"; readonly prefix?: readonly string[] } = {},
  ): Promise<DockerPlace> {
    const daemon = await (kind === "podman" ? startPodman() : startDockerd(of));
    const api = new DockerApi(daemon.endpoint);
    try {
      await importImage(api, createReadStream(await leanTar(["nodejs"])), { reference: base, env: { PATH: path } });
      const berth = await TestBerth.start(
        { BERTH_ENGINE: "docker", BERTH_DOCKER_HOST: daemon.url, ...(typeof envOf === "function" ? envOf(daemon) : envOf) },
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
    try {
      await this.berth.stop();
    } finally {
      this.api.close();
      await this.daemon[Symbol.asyncDispose]();
    }
  }
}
