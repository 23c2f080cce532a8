// What an image says of itself and what its package manager keeps in it. Read through a container that is made and never started: no program of the image runs.
import { runtimePackages, apkPackages, dpkgPackages, readOsRelease } from "../../core/attest/system.ts";
import type { OperatingSystem, SoftwarePackage } from "../../core/attest/package.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError } from "../../docker/errors.ts";
import { readTar } from "../untar.ts";

export interface ImageContents {
  readonly os: OperatingSystem | undefined;
  readonly packages: readonly SoftwarePackage[];
  /** What was there and was not read. */
  readonly unread: readonly string[];
}

/** Bytes of one of these files: a status file of a full desktop has 5 MB. */
const largest = 32 * 1024 * 1024;
const dpkgStatus = "/var/lib/dpkg/status";
const apkInstalled = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];
const rpm = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"];

/** `build`: its id; a container that a crashed control plane left is found by it. Errors: DockerError, DockerUnreachable, DockerStreamError. */
export async function readImage(api: DockerApi, image: string, build: string, signal: AbortSignal): Promise<ImageContents> {
  const { Config } = await api.json<{ Config?: { Env?: readonly string[] | null } | null }>("GET", `/images/${image}/json`, { signal });
  const name = `berth-look-${build}`;
  await remove(api, name, signal);
  // The command is never run; an image without one needs any.
  const body = { Image: image, Cmd: ["none"], Entrypoint: [], NetworkDisabled: true };
  const { Id } = await api.json<{ Id: string }>("POST", "/containers/create", { query: { name }, body, signal });
  try {
    const texts = (path: string): Promise<Found> => textsAt(api, Id, path, signal);
    const release = [...(await texts("/etc/os-release")).files, ...(await texts("/usr/lib/os-release")).files];
    const packages: SoftwarePackage[] = [...runtimePackages(Config?.Env ?? [])];
    const unread: string[] = [];
    const take = ({ files, tooLarge }: Found, read: (text: string, from: string) => SoftwarePackage[]): void => {
      for (const { path, text } of files) packages.push(...read(text, path));
      unread.push(...tooLarge.map((path) => `${path} (larger than ${String(largest / 1024 / 1024)} MiB)`));
    };
    take(await texts(dpkgStatus), (text, from) => dpkgPackages(text, from));
    take(await texts(`${dpkgStatus}.d`), (text, from) => dpkgPackages(text, from, true));
    for (const path of apkInstalled) take(await texts(path), apkPackages);
    for (const path of rpm) if (await isThere(api, Id, path, signal)) unread.push(`${path} (a database of rpm)`);
    return { os: release.map(({ text }) => readOsRelease(text)).find((os) => os !== undefined), packages, unread };
  } finally {
    await remove(api, Id, AbortSignal.timeout(20_000));
  }
}

interface Found {
  readonly files: readonly { readonly path: string; readonly text: string }[];
  readonly tooLarge: readonly string[];
}

/** Regular files at and right below a path; none when there is nothing. */
async function textsAt(api: DockerApi, container: string, path: string, signal: AbortSignal): Promise<Found> {
  const files: { path: string; text: string }[] = [];
  const tooLarge: string[] = [];
  const above = path.slice(0, path.lastIndexOf("/"));
  let archive;
  try {
    archive = await api.stream("GET", `/containers/${container}/archive`, { query: { path }, signal });
  } catch (error) {
    if (isMissing(error)) return { files, tooLarge };
    throw error;
  }
  for await (const { raw, content } of readTar(archive, { signal })) {
    // The sums of a package's files lie beside what is said of it.
    if (raw.type !== "file" || raw.name.endsWith(".md5sums")) continue;
    if (raw.size > largest) {
      tooLarge.push(`${above}/${raw.name}`);
      continue;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    files.push({ path: `${above}/${raw.name}`, text: Buffer.concat(chunks).toString("utf8") });
  }
  return { files, tooLarge };
}

async function isThere(api: DockerApi, container: string, path: string, signal: AbortSignal): Promise<boolean> {
  try {
    const archive = await api.stream("GET", `/containers/${container}/archive`, { query: { path }, signal });
    archive.destroy();
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Absent is success. */
async function remove(api: DockerApi, container: string, signal: AbortSignal): Promise<void> {
  try {
    await api.json("DELETE", `/containers/${container}`, { query: { force: "true" }, signal });
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

const isMissing = (error: unknown): boolean => error instanceof DockerError && error.status === 404;
