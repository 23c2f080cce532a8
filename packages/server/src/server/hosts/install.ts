// Puts the edge on a Docker host and keeps it there as it should be: its image, its container, the two files that it is told things by.
import { isAbsolute, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { extract, pack } from "tar-stream";
import { ErrorScan } from "../../core/builderrors.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError } from "../../docker/errors.ts";
import { readFrames } from "../../docker/frames.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import { edgeConfigText, edgeContainerBody, edgeContainerName, edgeLabels, type EdgeSettings } from "./container.ts";

/** Something that a person has to see to, in a sentence without its full stop. */
export class HostTrouble extends Error {}

export interface InstallDeps {
  readonly api: DockerApi;
  /** The daemon of this machine, when there is one: the image may be there. */
  readonly own: DockerApi | undefined;
  /** Credentials for pulling the image, as the header says them. */
  readonly auth: (image: string) => Promise<Readonly<Record<string, string>>>;
  readonly probeKey: Buffer;
}

/** Returns the container's name. Errors: HostTrouble, DockerError, DockerUnreachable. */
export async function installEdge(deps: InstallDeps, settings: EdgeSettings, signal: AbortSignal): Promise<string> {
  const { api } = deps;
  const name = edgeContainerName(settings.installation, settings.cluster);
  const found = await inspect(api, name, signal);
  if (found !== undefined && found.Config.Labels?.[edgeLabels.installation] !== settings.installation)
    throw new HostTrouble(`there is a container ${name} that is not Berth's`);
  if (found === undefined) {
    await ensureImage(deps, settings.image, signal);
    const body = edgeContainerBody(settings, await volumesOf(api, signal));
    await api.json("POST", "/containers/create", { query: { name }, body, signal });
  }
  if (found?.State.Running !== true) {
    await putFiles(deps, name, settings, signal);
    await api.json("POST", `/containers/${name}/start`, { signal, timeout: 60_000 });
  }
  await awaitRunning(api, name, signal);
  return name;
}

/** As dockerd and podman have them below their folder. */
async function volumesOf(api: DockerApi, signal: AbortSignal): Promise<string> {
  const { DockerRootDir: root = "" } = await api.json<{ readonly DockerRootDir?: string }>("GET", "/info", { signal });
  if (!isAbsolute(root)) throw new HostTrouble("the daemon does not say where it keeps its volumes");
  return join(root, "volumes");
}

/** Takes the container away, and what it kept on the host. Absent = success. */
export async function removeEdge(
  api: DockerApi,
  settings: Pick<EdgeSettings, "installation" | "cluster" | "facts">,
  signal: AbortSignal,
): Promise<void> {
  const name = edgeContainerName(settings.installation, settings.cluster);
  const found = await inspect(api, name, signal);
  if (found === undefined || found.Config.Labels?.[edgeLabels.installation] !== settings.installation) return;
  await api.json("POST", `/containers/${name}/stop`, { query: { t: 30 }, signal, timeout: 60_000 });
  // Keys and logs of people who have left do not stay behind; the folder itself does, empty.
  const folder = settings.facts.home;
  await runOnce(api, { image: found.Image, name: `${name}-clear`, folder, command: ["find", folder, "-mindepth", "1", "-delete"] }, signal);
  await removeContainer(api, name, signal);
}

/** Runs a command of an image beside the edge, with its folder, to its end. Errors: HostTrouble with its last words when it fails. */
export async function runOnce(
  api: DockerApi,
  of: { readonly image: string; readonly name: string; readonly folder: string; readonly command: readonly string[] },
  signal: AbortSignal,
): Promise<void> {
  const body = {
    Image: of.image,
    Entrypoint: of.command,
    Cmd: [],
    User: "0:0",
    HostConfig: { NetworkMode: "none", Binds: [`${of.folder}:${of.folder}`] },
  };
  // What an interrupted one left.
  await removeContainer(api, of.name, signal);
  const { Id } = await api.json<{ Id: string }>("POST", "/containers/create", { query: { name: of.name }, body, signal });
  try {
    await api.json("POST", `/containers/${Id}/start`, { signal });
    const { StatusCode } = await api.json<{ StatusCode: number }>("POST", `/containers/${Id}/wait`, { signal, timeout: 120_000 });
    if (StatusCode !== 0) throw new HostTrouble(`${of.command[0] ?? ""} failed on the host with exit code ${String(StatusCode)}`);
  } finally {
    await removeContainer(api, Id, AbortSignal.timeout(30_000));
  }
}

async function removeContainer(api: DockerApi, name: string, signal: AbortSignal): Promise<void> {
  try {
    await api.json("DELETE", `/containers/${name}`, { query: { force: true }, signal, timeout: 60_000 });
  } catch (error) {
    if (!(error instanceof DockerError && error.status === 404)) throw error;
  }
}

/** A file in a container; undefined when there is none. */
export async function readFile(api: DockerApi, name: string, path: string, signal: AbortSignal): Promise<string | undefined> {
  let archive: Readable;
  try {
    archive = await api.stream("GET", `/containers/${name}/archive`, { query: { path }, signal });
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return undefined;
    throw error;
  }
  const entries = extract();
  // What breaks it off is what reading it fails of.
  const feeding = pipeline(archive, entries);
  feeding.catch(() => undefined);
  try {
    for await (const entry of entries) return await text(entry as unknown as Readable);
    return undefined;
  } finally {
    archive.destroy();
  }
}

interface Inspected {
  readonly Image: string;
  readonly Config: { readonly Labels: Readonly<Record<string, string>> | null };
  readonly State: { readonly Running: boolean; readonly Restarting: boolean; readonly Status: string; readonly Error: string };
}

async function inspect(api: DockerApi, name: string, signal: AbortSignal): Promise<Inspected | undefined> {
  try {
    return await api.json<Inspected>("GET", `/containers/${name}/json`, { signal });
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return undefined;
    throw error;
  }
}

async function awaitRunning(api: DockerApi, name: string, signal: AbortSignal): Promise<void> {
  for (const until = performance.now() + 30_000; ; await delay(100, undefined, { signal })) {
    const seen = await inspect(api, name, signal);
    if (seen?.State.Running === true && !seen.State.Restarting) return;
    if (performance.now() > until)
      throw new HostTrouble(`the edge does not come up there: ${seen?.State.Error || (seen?.State.Status ?? "it is gone")}`);
  }
}

/** What an edge that ends again and again said in the last so many `seconds`, in one line; undefined while it runs, or when it said nothing. Errors: as of any call of the daemon. */
export async function whyEdgeEnded(api: DockerApi, name: string, seconds: number, signal: AbortSignal): Promise<string | undefined> {
  const seen = await inspect(api, name, signal);
  if (seen?.State.Restarting !== true) return undefined;
  const query = { stdout: true, stderr: true, tail: 50, since: Math.floor(Date.now() / 1_000) - seconds };
  const logs = await api.stream("GET", `/containers/${name}/logs`, { query, signal });
  let said = "";
  for await (const { data } of readFrames(logs as AsyncIterable<Buffer>)) said += data.toString();
  const scan = new ErrorScan();
  for (const line of said.split("\n")) scan.add("", line);
  return scan.line();
}

/** Written before the start: the edge reads one, and the other makes it know this server's questions. */
export async function putFiles({ api, probeKey }: InstallDeps, name: string, settings: EdgeSettings, signal: AbortSignal): Promise<void> {
  const tar = pack();
  for (const folder of ["edge", "run", "logs"]) tar.entry({ name: folder, type: "directory", mode: 0o711 });
  tar.entry({ name: "edge/config.json", mode: 0o600 }, edgeConfigText(settings));
  tar.entry({ name: "edge/probe.key", mode: 0o600 }, `${probeKey.toString("hex")}\n`);
  tar.finalize();
  await api.json("PUT", `/containers/${name}/archive`, {
    query: { path: settings.facts.home },
    body: await buffer(Readable.from(tar)),
    signal,
    timeout: 60_000,
  });
}

/** There, or brought there: from this machine's daemon, or from a registry. */
export async function ensureImage({ api, own, auth }: InstallDeps, image: string, signal: AbortSignal): Promise<void> {
  if (await holds(api, image, signal)) return;
  if (own !== undefined && (await holds(own, image, signal).catch(() => false))) {
    const saved = await own.stream("GET", `/images/${encodeURIComponent(image)}/get`, { signal, timeout: Infinity });
    const answer = await api.stream("POST", "/images/load", {
      query: { quiet: true },
      body: Readable.from(saved),
      signal,
      timeout: Infinity,
    });
    await buffer(answer);
    if (await holds(api, image, signal)) return;
  }
  const [, fromImage = image, tag = "latest"] = /^(.+):([\w][\w.-]{0,127})$/.exec(image) ?? [];
  let refused: string | undefined;
  try {
    const answer = await api.stream("POST", "/images/create", {
      query: { fromImage, tag },
      headers: await auth(image),
      signal,
      timeout: Infinity,
    });
    for await (const line of readNdjson<{ readonly error?: string }>(answer)) refused ??= line.error;
  } catch (error) {
    if (!(error instanceof DockerError)) throw error;
    refused = error.message;
  }
  if (refused !== undefined || !(await holds(api, image, signal)))
    throw new HostTrouble(
      `it does not have Berth's image ${image}, and cannot get it (${refused ?? "nobody has it"}); build it on the server's machine with \`npm run image\`, or name another one (BERTH_IMAGE)`,
    );
}

async function holds(api: DockerApi, image: string, signal: AbortSignal): Promise<boolean> {
  try {
    await api.json("GET", `/images/${encodeURIComponent(image)}/json`, { signal });
    return true;
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return false;
    throw error;
  }
}
