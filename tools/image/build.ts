// Builds Berth's own image on a Docker daemon from what `npm run build` made: programs, Node.js and what stays in node_modules, nothing else of the checkout.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pack } from "tar-stream";
import type { DockerApi } from "../../packages/server/src/docker/api.ts";
import { readNdjson } from "../../packages/server/src/docker/ndjson.ts";
import { edgeBuild } from "../../packages/server/src/edge/build.ts";

const checkout = join(import.meta.dirname, "..", "..");

export interface ImageOptions {
  /** `name:tag` */
  readonly tag: string;
  /** What it stands on, instead of the Dockerfile's own: something with glibc and libstdc++, and `ip` or apt-get. */
  readonly base?: string | undefined;
  readonly revision?: string | undefined;
  /** Another checkout's folder than this one. */
  readonly root?: string | undefined;
  readonly onLine: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export class ImageFailed extends Error {}

/** The image's id. Errors: ImageFailed with the builder's words, DockerError, DockerUnreachable. */
export async function buildImage(api: DockerApi, { tag, base, revision, root = checkout, onLine, signal }: ImageOptions): Promise<string> {
  const buildargs = {
    VERSION: berthVersion(),
    REVISION: revision ?? "",
    EDGE_BUILD: edgeBuild(join(root, "dist", "edge.js")),
    ...(base === undefined ? {} : { BASE: base }),
  };
  const query = { t: tag, dockerfile: "Dockerfile", rm: "true", forcerm: "true", buildargs: JSON.stringify(buildargs) };
  const answer = await api.stream("POST", "/build", { query, body: context(root), signal, timeout: Infinity });
  for await (const line of readNdjson<{ readonly stream?: string; readonly error?: string }>(answer)) {
    if (line.error !== undefined) throw new ImageFailed(line.error);
    if (line.stream?.trim()) onLine(line.stream.trimEnd());
  }
  return (await api.json<{ Id: string }>("GET", `/images/${tag}/json`, { signal })).Id;
}

export function berthVersion(): string {
  return (JSON.parse(readFileSync(join(checkout, "package.json"), "utf8")) as { version: string }).version;
}

/** Times are the same in each, so that the daemon finds in its cache what has not changed. */
function context(root: string): Readable {
  const tar = pack();
  const add = (path: string, name: string): void => {
    const stat = statSync(path);
    if (!stat.isDirectory()) tar.entry({ name, mode: (stat.mode & 0o111) === 0 ? 0o644 : 0o755, mtime: new Date(0) }, readFileSync(path));
    else for (const entry of readdirSync(path).toSorted()) if (!entry.endsWith(".map")) add(join(path, entry), `${name}/${entry}`);
  };
  add(join(import.meta.dirname, "Dockerfile"), "Dockerfile");
  for (const part of ["package.json", "bin", "dist", "examples", "node_modules/@lydell"]) add(join(root, part), `berth/${part}`);
  const platform = `node-linux-${process.arch}`;
  add(join(root, "node_modules", platform, "bin"), `berth/node_modules/${platform}/bin`);
  tar.finalize();
  return Readable.from(tar);
}
