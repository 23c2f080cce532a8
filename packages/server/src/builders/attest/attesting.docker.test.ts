// Attested builds by Docker's own builder and by BuildKit, with and without a registry: what is in the image, where it comes from, and no secret in either.
import { createHash } from "node:crypto";
import { createReadStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Statement } from "../../core/attest/provenance.ts";
import { DockerApi } from "../../docker/api.ts";
import { RegistryClient } from "../../docker/registry-client.ts";
import { dockerdMissing, startDockerd, type TestDaemon } from "../../docker/testing/daemon.ts";
import { pushImage, registryMissing, startRegistry, type TestRegistry } from "../../docker/testing/registry.ts";
import { importImage } from "../bases/import.ts";
import type { Builder } from "../builder.ts";
import { createBuildkitBuilder } from "../image/buildkit.ts";
import { createDockerBuilder } from "../image/docker.ts";
import { loadIntoDocker } from "../image/output.ts";
import { pushing } from "../image/pushing.ts";
import { folderBlobs, type TestBlobs } from "../testing/blobs.ts";
import { buildkitMissing, startBuildkitd, type TestBuildkit } from "../testing/buildkit.ts";
import { debianMissing, debianTar } from "../testing/debian.ts";
import { buildFiles, type Asked } from "../testing/imagelab.ts";
import { layoutOf } from "../testing/ocilayout.ts";
import { attesting } from "./attesting.ts";
import { readImage } from "./imagefiles.ts";
import { publishStatements } from "./publish.ts";

const base = "berth-test/debian:12";
const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
const secret = "hunter2-hunter2";
const missing = dockerdMissing() ?? debianMissing() ?? buildkitMissing() ?? registryMissing();
const lock = { packages: { "": {}, "node_modules/ms": { version: "2.1.3" }, "node_modules/vitest": { version: "4.0.0", dev: true } } };

interface Spdx {
  readonly name: string;
  readonly packages: readonly {
    readonly name: string;
    readonly versionInfo?: string;
    readonly sourceInfo?: string;
    readonly externalRefs?: readonly { readonly referenceLocator: string }[];
  }[];
}
interface Slsa {
  readonly buildDefinition: {
    readonly resolvedDependencies: readonly { readonly name: string; readonly digest?: { readonly sha256: string } }[];
  };
  readonly runDetails: { readonly metadata: { readonly startedOn: string; readonly finishedOn: string } };
}

describe.skipIf(missing !== undefined)(`attested builds${missing === undefined ? "" : ` (${missing})`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-attested-"));
  let daemon: TestDaemon;
  let buildkitd: TestBuildkit;
  let registry: TestRegistry;
  let api: DockerApi;
  let blobs: TestBlobs;
  let layoutDigest: string;
  let builders: Record<"docker" | "buildkit", Builder>;

  beforeAll(async () => {
    [daemon, buildkitd, registry] = await Promise.all([startDockerd(), startBuildkitd(), startRegistry()]);
    api = new DockerApi(daemon.endpoint);
    blobs = await folderBlobs(join(dir, "blobs"));
    await importImage(api, createReadStream(await debianTar()), { reference: base, env });
    const layout = await layoutOf(await debianTar(), env);
    layoutDigest = layout.digest;
    const common = { blobs, catalogue: () => ({ os: base, runtimes: [], tools: [] }), staticServer: () => Promise.resolve(""), labels: {} };
    const login = { ...registry.login, plainHttp: true };
    const docker = createDockerBuilder({ ...common, api, logins: () => Promise.resolve([login]) });
    const buildkit = createBuildkitBuilder({
      ...common,
      buildkit: buildkitd.buildkit,
      output: loadIntoDocker(api),
      folder: join(dir, "builds"),
      layouts: { [base]: layout },
    });
    const attested = (builder: Builder, name: "docker" | "buildkit"): Builder =>
      attesting(pushing(builder, { api, login: () => Promise.resolve({ ...login, readable: true }), clock: () => new Date() }), {
        blobs,
        installation: "test",
        version: "0",
        builder: name,
        contents: (image, build, signal) => readImage(api, image, build, signal),
        publish: async (reference, statements, signal) => {
          using client = new RegistryClient({ host: registry.host, plainHttp: true, login, proxies: {} });
          return await publishStatements(client, reference, statements, signal);
        },
      });
    builders = { docker: attested(docker, "docker"), buildkit: attested(buildkit, "buildkit") };
  });
  afterAll(async () => {
    api?.close();
    await registry?.[Symbol.asyncDispose]();
    await buildkitd?.[Symbol.asyncDispose]();
    await daemon?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  async function build(by: Builder, dockerfile: string, asked: Asked = {}) {
    const files = { Dockerfile: dockerfile, "package-lock.json": lock };
    const startedAt = new Date().toISOString();
    const run = await buildFiles(by, blobs, files, { ...asked, secrets: { token: secret }, env: { ARG: "value-of-argument" } });
    if (!run.outcome.ok || by.attest === undefined) throw new Error(`${JSON.stringify(run.outcome)}\n${run.lines.join("\n")}`);
    const facts = { outcome: run.outcome, startedAt, endedAt: new Date().toISOString() };
    const attested = await by.attest(run.request, facts, new AbortController().signal);
    // As after a crash: the same again.
    expect(await by.attest(run.request, facts, new AbortController().signal)).toEqual(attested);
    const read = async (digest: string): Promise<unknown> => json(await blobs.open(digest));
    const { sbom, provenance, beside, notes } = attested;
    const texts = JSON.stringify([await read(sbom), await read(provenance)]);
    for (const value of [secret, "value-of-argument", registry.login.password]) expect(texts).not.toContain(value);
    return { ...run.outcome, notes, beside, spdx: (await read(sbom)) as Spdx, origin: (await read(provenance)) as Statement };
  }

  const purls = ({ packages }: Spdx): string[] => packages.flatMap((one) => one.externalRefs?.map((ref) => ref.referenceLocator) ?? []);

  describe.each(["docker", "buildkit"] as const)("by %s", (name) => {
    it("say what the image holds, what the lockfile names, on what it stands and when it was made", async () => {
      const began = new Date().toISOString();
      const built = await build(
        builders[name],
        `FROM ${base} AS one\nRUN rm -rf /usr/share/doc\nFROM one\nARG ARG\nRUN echo ${secret} > /dev/null\nCOPY package-lock.json /app/\nCMD ["true"]\n`,
      );
      const status = await debianPackages();
      expect(status.length).toBeGreaterThan(20);
      for (const { name: of, version } of status)
        expect(built.spdx.packages).toContainEqual(
          expect.objectContaining({ name: of, versionInfo: version, sourceInfo: "/var/lib/dpkg/status" }),
        );
      expect(purls(built.spdx)).toEqual(expect.arrayContaining(["pkg:npm/ms@2.1.3", "pkg:npm/vitest@4.0.0"]));
      expect(built.origin.subject).toEqual([{ name: "shop/source", digest: { sha256: built.digest.slice(7) } }]);
      const { buildDefinition, runDetails } = built.origin.predicate as Slsa;
      const id = name === "docker" ? (await api.json<{ Id: string }>("GET", `/images/${base}/json`)).Id : layoutDigest;
      expect(buildDefinition.resolvedDependencies).toContainEqual(expect.objectContaining({ digest: { sha256: id.slice(7) } }));
      // The source and its one base: a stage of the file's own is none.
      expect(buildDefinition.resolvedDependencies.map((one) => one.name)).toEqual(["source", base]);
      const { startedOn, finishedOn } = runDetails.metadata;
      const order = [began, startedOn, finishedOn, new Date().toISOString()];
      expect(order).toEqual(order.toSorted());
      expect(built.beside).toEqual([]);
      expect((await api.json<object[]>("GET", "/containers/json", { query: { all: "true" } })).length).toBe(0);
    });

    it("lie beside the image in its registry, under the digest that releases have", async () => {
      const built = await build(builders[name], `FROM ${base}\nCMD ["true"]\n`, {
        destination: { repository: `${registry.host}/berth/${name}`, tag: "1" },
      });
      expect(built.reference).toBe(`${registry.host}/berth/${name}@${built.digest}`);
      expect(built.origin.subject[0]).toEqual({ name: `${registry.host}/berth/${name}`, digest: { sha256: built.digest.slice(7) } });
      // As a client finds it that knows nothing of Berth: by the tag that the distribution specification names.
      const get = async (path: string): Promise<Buffer> => {
        const answer = await registry.ask("GET", `/v2/berth/${name}/${path}`, {
          accept: "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json",
        });
        expect(answer.status).toBe(200);
        return Buffer.from(await answer.arrayBuffer());
      };
      const index = JSON.parse((await get(`manifests/${built.digest.replace(":", "-")}`)).toString()) as {
        manifests: { digest: string }[];
      };
      expect(index.manifests).toHaveLength(1);
      const digest = index.manifests[0]?.digest ?? "";
      expect(built.beside).toContain(`${registry.host}/berth/${name}@${digest}`);
      const manifest = JSON.parse((await get(`manifests/${digest}`)).toString()) as {
        subject: { digest: string; size: number };
        layers: { digest: string; annotations: Record<string, string> }[];
      };
      const image = await registry.ask("GET", `/v2/berth/${name}/manifests/${built.digest}`, {
        accept: "application/vnd.docker.distribution.manifest.v2+json",
      });
      expect(manifest.subject).toMatchObject({ digest: built.digest, size: (await image.arrayBuffer()).byteLength });
      const found: Record<string, Statement> = {};
      for (const layer of manifest.layers) {
        const content = await get(`blobs/${layer.digest}`);
        expect(`sha256:${createHash("sha256").update(content).digest("hex")}`).toBe(layer.digest);
        expect(content.includes(secret)).toBe(false);
        found[layer.annotations["in-toto.io/predicate-type"] ?? ""] = JSON.parse(content.toString()) as Statement;
      }
      expect(found["https://slsa.dev/provenance/v1"]).toEqual(built.origin);
      expect(found["https://spdx.dev/Document"]).toMatchObject({ subject: built.origin.subject, predicate: built.spdx });
    });
  });

  it("name a base image by the digest of its registry, also when the file says a variable", async () => {
    const at = `${registry.host}/others/base`;
    await api.json("POST", `/images/${base}/tag`, { query: { repo: at, tag: "1" } });
    await pushImage(api, registry, "others/base", "1");
    const built = await build(builders.docker, `ARG FROM=${at}:1\nFROM $FROM\nCMD ["true"]\n`);
    const head = await registry.ask("HEAD", "/v2/others/base/manifests/1", {
      accept: "application/vnd.docker.distribution.manifest.v2+json",
    });
    const digest = head.headers.get("docker-content-digest") ?? "";
    expect((built.origin.predicate as Slsa).buildDefinition.resolvedDependencies).toContainEqual(
      expect.objectContaining({ name: `${at}:1`, digest: { sha256: digest.slice(7) }, annotations: { digestOf: "manifest" } }),
    );
  });

  it("are kept with a build whose registry takes images and not what refers to them", async () => {
    registry.fault = (method, path) => (method === "PUT" && path.includes("/refused/manifests/sha256") ? { status: 405 } : undefined);
    try {
      const built = await build(builders.docker, `FROM ${base}\nCMD ["true"]\n`, {
        destination: { repository: `${registry.host}/berth/refused`, tag: "1" },
      });
      expect(built.beside).toEqual([]);
      expect(built.notes.join("\n")).toMatch(/could not be put beside the image in its registry: it answered 405/);
      expect(built.spdx.packages.length).toBeGreaterThan(20);
    } finally {
      registry.fault = undefined;
    }
  });

  /** As dpkg itself counts them. */
  async function debianPackages(): Promise<{ name: string; version: string }[]> {
    const body = { Image: base, Cmd: ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n"] };
    const { Id } = await api.json<{ Id: string }>("POST", "/containers/create", { body });
    await api.json("POST", `/containers/${Id}/start`);
    await api.json("POST", `/containers/${Id}/wait`, { timeout: 240_000 });
    const { readFrames } = await import("../../docker/frames.ts");
    let text = "";
    for await (const { data } of readFrames(await api.stream("GET", `/containers/${Id}/logs`, { query: { stdout: "true" } })))
      text += data.toString();
    await api.json("DELETE", `/containers/${Id}`);
    return text.split("\n").flatMap((line) => {
      const [status, name = "", version = ""] = line.split(" ");
      return status === "installed" ? [{ name, version }] : [];
    });
  }
});
