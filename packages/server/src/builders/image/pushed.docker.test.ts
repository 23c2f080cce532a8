// Images that BuildKit pushes itself, to a real registry: what is there by which digest, and that nobody's password lies anywhere but in the client's session.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { RegistryLogin } from "../../core/image/reference.ts";
import { registryMissing, startRegistry, type TestRegistry } from "../../docker/testing/registry.ts";
import type { Builder } from "../builder.ts";
import { folderBlobs, type TestBlobs } from "../testing/blobs.ts";
import { buildkitMissing, startBuildkitd, type TestBuildkit } from "../testing/buildkit.ts";
import { buildFiles, type Asked, type Run } from "../testing/imagelab.ts";
import { createBuildkitBuilder } from "./buildkit.ts";
import { pushFromBuildkit } from "./output.ts";

const missing = buildkitMissing() ?? registryMissing();
const dockerfile = 'FROM scratch\nCOPY hello /hello\nENTRYPOINT ["/hello"]\n';

describe.skipIf(missing !== undefined)(`images that BuildKit pushes${missing === undefined ? "" : ` (${missing})`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-pushed-"));
  let registry: TestRegistry;
  let buildkitd: TestBuildkit;
  let blobs: TestBlobs;

  beforeAll(async () => {
    [registry, buildkitd] = await Promise.all([startRegistry(), startBuildkitd()]);
    blobs = await folderBlobs(join(dir, "blobs"));
  });
  afterEach(() => {
    registry.fault = undefined;
  });
  afterAll(async () => {
    await buildkitd?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  function builderAs(password: string, readable = true): Builder {
    const login: RegistryLogin = { ...registry.login, password, plainHttp: true };
    return createBuildkitBuilder({
      blobs,
      catalogue: () => ({ os: "none", runtimes: [], tools: [] }),
      staticServer: () => Promise.resolve(""),
      buildkit: buildkitd.buildkit,
      output: pushFromBuildkit(buildkitd.buildkit, () => Promise.resolve({ ...login, readable })),
      logins: () => Promise.resolve({ all: [login], standard: "" }),
      folder: join(dir, "builds"),
      labels: {},
    });
  }
  const build = (builder: Builder, more: Asked = {}): Promise<Run> =>
    buildFiles(
      builder,
      blobs,
      { Dockerfile: dockerfile, hello: "hi\n" },
      { destination: { repository: `${registry.host}/berth/shop`, tag: "build-1" }, ...more },
    );

  it("are there by the digest that the build tells, with how they start and what they weigh", async () => {
    const { outcome } = await build(builderAs(registry.login.password));
    if (!outcome.ok) throw new Error(JSON.stringify(outcome.cause));
    const { digest, reference, processes, size } = outcome;
    expect({ reference, processes }).toEqual({ reference: `${registry.host}/berth/shop@${digest}`, processes: ["web"] });
    const accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    const answer = await registry.ask("GET", `/v2/berth/shop/manifests/${digest}`, { accept });
    expect(answer.status).toBe(200);
    const manifest = (await answer.json()) as { config: { size: number }; layers: { size: number }[] };
    expect(size).toBe(manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size));
    expect((await registry.ask("HEAD", "/v2/berth/shop/manifests/build-1", { accept })).headers.get("docker-content-digest")).toBe(digest);
    expect(buildkitd.log()).not.toContain(registry.login.password);
  });

  it("are the same again when the same is built again, and are sent only once", async () => {
    const builder = builderAs(registry.login.password);
    const [first, second] = [await build(builder), await build(builder, { id: "again" })];
    expect(first.outcome).toMatchObject({ ok: true });
    const layers = registry.requests.filter((line) => /^PUT .*\/blobs\/uploads\//.test(line)).length;
    expect(second.outcome).toMatchObject({ ok: true });
    await build(builder);
    expect(registry.requests.filter((line) => /^PUT .*\/blobs\/uploads\//.test(line)).length - layers).toBeLessThanOrEqual(1);
  });

  it("are refused in words when the registry takes them from nobody, or not from this one", async () => {
    const denied = { ok: false, cause: { code: "image_push_denied", params: { registry: registry.host } } };
    expect((await build(builderAs("wrong"))).outcome).toMatchObject(denied);
    expect((await build(builderAs("sealed", false))).outcome).toMatchObject({ ok: false, cause: { code: "registry_unreadable" } });
  });

  it("fail with the registry's own trouble, and with the build's deadline while it is silent", async () => {
    registry.fault = (method) => (method === "PUT" ? { status: 400 } : undefined);
    expect((await build(builderAs(registry.login.password), { env: { N: "1" }, stackId: "s2" })).outcome).toMatchObject({
      ok: false,
      cause: { code: "image_push_failed", params: { registry: registry.host, reason: expect.stringContaining("400") as string } },
    });
    registry.fault = (method) => (method === "HEAD" ? undefined : { until: new Promise(() => undefined) });
    expect((await build(builderAs(registry.login.password), { deadline: 3_000, stackId: "s3" })).outcome).toMatchObject({
      ok: false,
      cause: { code: "build_deadline" },
    });
  });
});
