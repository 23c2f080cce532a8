// Images for tests, made without a builder: one layer of given files, as an OCI image layout, put into the node's containerd or pushed to a registry.
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { pack } from "tar-stream";
import { isDaemonRunning } from "./daemons.ts";
import { call } from "./failed.ts";
import { clusterNodes, firstNode, type ClusterNode } from "./settings.ts";

/** What a container of it starts with; every path is absolute. */
export interface ImageContent {
  /** Path -> a file's bytes, or where a link leads to. Programs are executable: all files are. */
  readonly files: Readonly<Record<string, Buffer | { readonly link: string }>>;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** uid or uid:gid. */
  readonly user?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface TestImage {
  /** Of its manifest: `sha256:...`, the same wherever it is. */
  readonly digest: string;
  readonly manifest: Blob;
  readonly blobs: readonly Blob[];
}

interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

export const pauseImage = "localhost/berth-pause:1";
export const shellImage = "localhost/berth-shell:1";

const types = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;

const blob = (mediaType: string, bytes: Buffer): Blob => ({
  mediaType,
  bytes,
  digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
});
const json = (mediaType: string, value: object): Blob => blob(mediaType, Buffer.from(JSON.stringify(value)));
const descriptor = ({ mediaType, digest, bytes }: Blob) => ({ mediaType, digest, size: bytes.length });

/** The same content gives the same digest. */
export async function makeImage(content: ImageContent): Promise<TestImage> {
  const layer = blob(types.layer, await layerOf(content.files));
  const config = json(types.config, {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: {
      Entrypoint: content.entrypoint,
      Cmd: content.command,
      User: content.user,
      Labels: content.labels,
      Env: Object.entries({ PATH: "/bin", ...content.env }).map(([name, value]) => `${name}=${value}`),
    },
    rootfs: { type: "layers", diff_ids: [layer.digest] },
  });
  const manifest = json(types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptor(config),
    layers: [descriptor(layer)],
  });
  return { digest: manifest.digest, manifest, blobs: [config, layer] };
}

async function layerOf(files: ImageContent["files"]): Promise<Buffer> {
  const tar = pack();
  const all = (async () => {
    const pieces: Buffer[] = [];
    for await (const piece of tar) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  })();
  const mtime = new Date(0);
  const made = new Set(["/"]);
  const addFolder = (path: string): void => {
    if (made.has(path)) return;
    made.add(path);
    addFolder(join(path, ".."));
    // Whoever the container runs as may write there, as in /tmp anywhere.
    tar.entry({ name: path.slice(1), type: "directory", mode: path === "/tmp" ? 0o1777 : 0o755, mtime });
  };
  for (const [path, content] of Object.entries({ ...files })) {
    addFolder(join(path, ".."));
    if (Buffer.isBuffer(content)) tar.entry({ name: path.slice(1), mode: 0o755, mtime }, content);
    else tar.entry({ name: path.slice(1), type: "symlink", linkname: content.link, mtime });
  }
  addFolder("/tmp");
  tar.finalize();
  return all;
}

/** Puts it under a name (`localhost/thing:1`) into every node's containerd, where `imagePullPolicy: IfNotPresent` or `Never` finds it. */
export async function loadImage(name: string, image: TestImage): Promise<void> {
  for (const node of clusterNodes) if (isDaemonRunning(containerdOf(node))) await loadInto(node, name, image);
}

async function loadInto(node: ClusterNode, name: string, image: TestImage): Promise<void> {
  if ((await ctr(node, "images", "list", `name==${name}`)).includes(image.digest)) return;
  const folder = mkdtempSync(join(tmpdir(), "berth-image-"));
  try {
    const tar = pack();
    const written = pipeline(tar, createWriteStream(join(folder, "image.tar")));
    tar.entry({ name: "oci-layout" }, JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    const annotations = { "io.containerd.image.name": name };
    const manifests = [{ ...descriptor(image.manifest), annotations }];
    tar.entry({ name: "index.json" }, JSON.stringify({ schemaVersion: 2, manifests }));
    for (const each of [image.manifest, ...image.blobs])
      tar.entry({ name: `blobs/sha256/${each.digest.slice("sha256:".length)}` }, each.bytes);
    tar.finalize();
    await written;
    await ctr(node, "images", "import", "--all-platforms", join(folder, "image.tar"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The name of the daemon. */
export const containerdOf = ({ name }: ClusterNode): string => (name === firstNode.name ? "containerd" : `containerd-${name}`);

/** In the namespace that kubelet uses. Errors: ClusterFailed `program_failed`. */
export async function ctr(node: ClusterNode, ...args: readonly string[]): Promise<string> {
  return call("ctr", ["--address", node.socket, "--namespace", "k8s.io", ...args]);
}

/** Pushes it to a registry that speaks plain HTTP (`127.0.0.1:5000`), as NAME:TAG. Rejects with what the registry says. */
export async function pushTo(host: string, name: string, tag: string, image: TestImage, authorization?: string): Promise<void> {
  const headers = authorization === undefined ? {} : { authorization };
  const send = async (method: string, url: string, type?: string, body?: Buffer): Promise<Response> => {
    const more = type === undefined ? {} : { "content-type": type };
    const answer = await fetch(url, {
      method,
      headers: { ...headers, ...more },
      ...(body === undefined ? {} : { body: new Uint8Array(body) }),
    });
    if (!answer.ok && answer.status !== 404) throw new Error(`${method} ${url}: ${String(answer.status)} ${await answer.text()}`);
    return answer;
  };
  for (const { digest, bytes } of image.blobs) {
    if ((await send("HEAD", `http://${host}/v2/${name}/blobs/${digest}`)).ok) continue;
    const begun = await send("POST", `http://${host}/v2/${name}/blobs/uploads/`);
    const place = new URL(begun.headers.get("location") ?? "", `http://${host}`);
    place.searchParams.set("digest", digest);
    await send("PUT", place.href, "application/octet-stream", bytes);
  }
  await send("PUT", `http://${host}/v2/${name}/manifests/${tag}`, image.manifest.mediaType, image.manifest.bytes);
}

/** Of Debian's busybox-static: every one of its programs, `sh` as the entry point. Its `wget -T` crashes; `timeout 5 wget` does not. */
export async function shellContent(): Promise<ImageContent> {
  const applets = execFileSync("busybox", ["--list"], { encoding: "utf8" }).trim().split("\n");
  const links = applets.filter((name) => name !== "busybox").map((name) => [`/bin/${name}`, { link: "busybox" }] as const);
  return {
    files: {
      "/bin/busybox": readFileSync(busyboxPath()),
      ...Object.fromEntries(links),
      "/etc/passwd": Buffer.from("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
      "/etc/group": Buffer.from("root:x:0:\nnogroup:x:65534:\n"),
      "/www/index.html": Buffer.from("hello\n"),
    },
    entrypoint: ["/bin/sh"],
  };
}

/** An image of one static program and nothing else. */
export function programContent(name: string, path: string): ImageContent {
  return { files: { [`/${name}`]: readFileSync(path) }, entrypoint: [`/${name}`] };
}

/** What sleeps in each pod, to hold its namespaces. */
export function pauseContent(): ImageContent {
  return { files: { "/busybox": readFileSync(busyboxPath()) }, entrypoint: ["/busybox", "sleep", "2147483647"] };
}

export const busyboxPath = (): string => ["/bin/busybox", "/usr/bin/busybox"].find((path) => isStatic(path)) ?? "/bin/busybox";

/** Whether a program needs no loader: Debian's `busybox` does, its `busybox-static` does not. */
export function isStatic(path: string): boolean {
  try {
    return !readFileSync(path).subarray(0, 4096).includes("/ld-linux");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** The same as Berth builds images: its user is a number and not 0, and it has no entry point. */
export async function makeNobodyImage(): Promise<TestImage> {
  const { entrypoint: _entrypoint, ...content } = await shellContent();
  return makeImage({ ...content, user: "65534:65534", command: ["/bin/sh"] });
}
