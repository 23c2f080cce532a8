// A root file system as an OCI image layout, for builders that take their base from a folder: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { link, mkdir, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { withLock } from "../../os/lock.ts";
import type { LayoutImage } from "../image/buildkit.ts";

/** Beside the archive, where it is kept: the archive itself becomes the only layer. */
export async function layoutOf(tar: string, env: Readonly<Record<string, string>>): Promise<LayoutImage> {
  const key = createHash("sha256").update(JSON.stringify(env)).digest("hex").slice(0, 8);
  const folder = `${tar}.${key}.oci`;
  await withLock(`${folder}.lock`, undefined, async () => {
    if (existsSync(folder)) return;
    const draft = await mkdtemp(`${folder}.draft-`);
    try {
      await write(tar, env, draft);
      await rename(draft, folder);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  });
  const index = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as { manifests: [{ digest: string }] };
  return { folder, digest: index.manifests[0].digest };
}

async function write(tar: string, env: Readonly<Record<string, string>>, folder: string): Promise<void> {
  const blobs = join(folder, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  const hash = createHash("sha256");
  await pipeline(createReadStream(tar), hash);
  const layer = hash.digest("hex");
  await link(tar, join(blobs, layer));
  const put = async (mediaType: string, value: object): Promise<object> => {
    const text = JSON.stringify(value);
    const digest = createHash("sha256").update(text).digest("hex");
    await writeFile(join(blobs, digest), text);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
  };
  const config = await put("application/vnd.oci.image.config.v1+json", {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Env: Object.entries(env).map(([name, value]) => `${name}=${value}`) },
    rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const layers = [{ mediaType: "application/vnd.oci.image.layer.v1.tar", digest: `sha256:${layer}`, size: (await stat(tar)).size }];
  const manifest = await put(mediaType, { schemaVersion: 2, mediaType, config, layers });
  await writeFile(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  await writeFile(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}
