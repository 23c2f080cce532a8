// Turns a root file system into an image of one layer.
import type { Readable } from "node:stream";
import type { DockerApi } from "../../docker/api.ts";
import { DockerStreamError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";

export interface ImportOptions {
  /** `name:tag`; a tag is asked for, so that nobody gets `latest` by accident. */
  readonly reference: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cmd?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The image's id (`sha256:...`), once it has its name. Throws a TypeError for what cannot be said in a change, DockerError, DockerUnreachable, and DockerStreamError when the daemon fails in the middle. */
export async function importImage(api: DockerApi, tar: Readable, options: ImportOptions): Promise<string> {
  const { signal } = options;
  const [, repo, tag] = /^(.+):([\w][\w.-]{0,127})$/.exec(options.reference) ?? [];
  if (repo === undefined || tag === undefined) throw new TypeError(`${options.reference} has no tag`);
  const query = { fromSrc: "-", changes: changesOf(options) };
  const answer = await api.stream("POST", "/images/create", { query, body: tar, signal, timeout: Infinity });
  let id: string | undefined;
  for await (const line of readNdjson<{ status?: unknown; error?: unknown }>(answer)) {
    if (line.error !== undefined) throw new DockerStreamError(`the image was not imported: ${String(line.error)}`);
    if (typeof line.status === "string" && /^sha256:[0-9a-f]{64}$/.test(line.status)) id = line.status;
  }
  if (id === undefined) throw new DockerStreamError("the image was not imported, and the daemon did not say why");
  // Not named while it is imported: podman takes no tag there.
  await api.json("POST", `/images/${id}/tag`, { query: { repo, tag }, signal });
  return id;
}

/** Instructions as in a Dockerfile, the form that both daemons take. */
function changesOf({ labels = {}, env = {}, cmd }: ImportOptions): string[] {
  return [
    ...Object.entries(labels).map(([name, value]) => `LABEL ${name}=${quote(value)}`),
    ...Object.entries(env).map(([name, value]) => `ENV ${name}=${quote(value)}`),
    ...(cmd === undefined ? [] : [`CMD ${JSON.stringify(cmd)}`]),
  ];
}

/** docker reads an instruction as a Dockerfile has it, podman only takes the outer quotes away: what they would read differently is refused. */
function quote(value: string): string {
  if (/[\x00-\x1f"\\$]/.test(value))
    throw new TypeError(`a label or variable of a base image has no quotes, backslashes, dollar signs or line ends: ${value}`);
  return `"${value}"`;
}
