// The daemon's side of making base images: an archive becomes an image, an image becomes an archive, and what a crash left is removed. Touches only what carries the label of a making.
import { createReadStream, createWriteStream, statSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { MadeImage } from "../../core/image/bases.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError, DockerStreamError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import { writeTar, type TarItem } from "../tar.ts";

/** On everything that a making has not finished yet; its value is the making's own. */
export const makingLabel = "berth.making";

export interface ImageOrder {
  readonly reference: string;
  /** The image below; `scratch` for none. */
  readonly from: string;
  /** A tar archive that is unpacked over it. */
  readonly archive: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
}

/** Has its name at the moment at which it exists. Throws DockerError, DockerUnreachable, DockerStreamError. */
export async function composeImage(api: DockerApi, order: ImageOrder, signal: AbortSignal): Promise<MadeImage> {
  const words = (entries: Readonly<Record<string, string>>): string =>
    Object.entries(entries)
      .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
      .join(" ");
  // The labels come first: what the daemon keeps of a broken attempt carries them too.
  const dockerfile = [
    `FROM ${order.from}`,
    `LABEL ${words(order.labels)}`,
    ...(Object.keys(order.env).length === 0 ? [] : [`ENV ${words(order.env)}`]),
    "ADD layer.tar /",
    ...(order.from === "scratch" ? ['CMD ["/bin/sh"]'] : []),
  ];
  const answer = await api.stream("POST", "/build", {
    query: { t: order.reference, rm: "true", forcerm: "true", nocache: "true" },
    headers: { "content-type": "application/x-tar" },
    body: Readable.from(writeTar(contextOf(`${dockerfile.join("\n")}\n`, order.archive))),
    signal,
    timeout: Infinity,
  });
  for await (const { error } of readNdjson<{ readonly error?: string }>(answer))
    if (error !== undefined) throw new DockerStreamError(`the image ${order.reference} was not made: ${error}`);
  return lookAt(api, order.reference, signal);
}

function contextOf(dockerfile: string, archive: string): TarItem[] {
  const content = Buffer.from(dockerfile);
  return [
    { type: "file", path: "Dockerfile", executable: false, size: content.length, content },
    {
      type: "file",
      path: "layer.tar",
      executable: false,
      size: statSync(archive).size,
      content: createReadStream(archive) as AsyncIterable<Buffer>,
    },
  ];
}

async function lookAt(api: DockerApi, reference: string, signal: AbortSignal): Promise<MadeImage> {
  const image = await api.json<{ Id: string; Size: number; RootFS: { Layers: string[] } }>("GET", `/images/${reference}/json`, { signal });
  return { reference, id: image.Id, layers: image.RootFS.Layers, size: image.Size };
}

/** Whether the daemon has it, and as what it was made. */
export async function hasImage(api: DockerApi, { reference, id }: MadeImage, signal: AbortSignal): Promise<boolean> {
  try {
    return (await lookAt(api, reference, signal)).id === id;
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return false;
    throw error;
  }
}

/** Writes an image's whole file system into a file. The container that this takes is never started. */
export async function exportRoot(api: DockerApi, image: string, making: string, file: string, signal: AbortSignal): Promise<void> {
  const { Id } = await api.json<{ Id: string }>("POST", "/containers/create", {
    body: { Image: image, Cmd: ["none"], Labels: { [makingLabel]: making } },
    signal,
  });
  try {
    await pipeline(await api.stream("GET", `/containers/${Id}/export`, { signal }), createWriteStream(file));
  } finally {
    await api.json("DELETE", `/containers/${Id}`, { query: { force: true } });
  }
}

/** Versions whose names the daemon has already, of this installation or another one. */
export async function takenVersions(api: DockerApi, prefix: string, signal: AbortSignal): Promise<string[]> {
  const images = await api.json<{ RepoTags: string[] | null }[]>("GET", "/images/json", { signal });
  return images
    .flatMap(({ RepoTags }) => RepoTags ?? [])
    .flatMap((tag) => (tag.startsWith(prefix) ? tag.slice(prefix.length).replace(/-run$/, "") : []));
}

/** Removes what a making left: its containers, and its images with whatever names they have. */
export async function removeMaking(api: DockerApi, making: string, signal?: AbortSignal): Promise<void> {
  const filters = JSON.stringify({ label: [`${makingLabel}=${making}`] });
  for (const { Id } of await api.json<{ Id: string }[]>("GET", "/containers/json", { query: { all: true, filters }, signal }))
    await removed(api.json("DELETE", `/containers/${Id}`, { query: { force: true }, signal }));
  // An image that others were made on goes when they are gone: twice round is enough for the two that a base has.
  for (let round = 0; round < 2; round += 1)
    for (const { Id } of await api.json<{ Id: string }[]>("GET", "/images/json", { query: { filters }, signal }))
      await removed(api.json("DELETE", `/images/${Id}`, { query: { force: true }, signal }));
}

/** Takes a name away, and the image with its last name unless something is built on it. */
export async function forgetImage(api: DockerApi, reference: string, signal?: AbortSignal): Promise<void> {
  await removed(api.json("DELETE", `/images/${reference}`, { signal }));
}

/** 404: gone already; 409: something uses it, and it goes with that. */
async function removed(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof DockerError && (error.status === 404 || error.status === 409))) throw error;
  }
}
