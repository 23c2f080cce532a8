// Has the edge on a host run what it should, with the settings that it should have: a newer program, or other settings, take its place as an upgrade on this machine
// does, without a refused or broken connection. The container stays: its program is brought into the edge's folder there.
import { join } from "node:path";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError } from "../../docker/errors.ts";
import type { Hello, Program } from "../../edge/ipc.ts";
import type { EdgeTraffic } from "../../engines/edge-traffic.ts";
import { edgeConfigFile, edgeConfigText, edgeContainerName, edgeLabels, imageRoot, type EdgeSettings } from "./container.ts";
import { ensureImage, putFiles, readFile, runOnce, type InstallDeps } from "./install.ts";

/** What was done. Errors: those of the daemon and of the edge; the old edge goes on then. */
export async function renewHostEdge(
  deps: InstallDeps,
  settings: EdgeSettings,
  running: Hello,
  traffic: EdgeTraffic,
  signal: AbortSignal,
): Promise<"same" | "renewed"> {
  const { api } = deps;
  const name = edgeContainerName(settings.installation, settings.cluster);
  if (running.version !== settings.version) await ensureImage(deps, settings.image, signal);
  const wanted = await imageOf(api, settings.image, signal);
  const isSameProgram = wanted?.build === undefined || running.build === undefined || wanted.build === running.build;
  const isSameConfig = (await readFile(api, name, edgeConfigFile(settings.facts.home), signal)) === edgeConfigText(settings);
  if (isSameProgram && isSameConfig) return "same";
  await putFiles(deps, name, settings, signal);
  const container = await api.json<{ readonly Image: string }>("GET", `/containers/${name}/json`, { signal });
  const root = isSameProgram
    ? await rootOf(api, container.Image, running, settings, signal)
    : wanted.id === container.Image
      ? imageRoot
      : await bring(api, wanted, settings, signal);
  const [arch = ""] = /amd64|arm64/.exec(wanted?.architecture ?? "amd64") ?? [];
  const program: Program = {
    node: join(root, "node_modules", `node-linux-${arch === "arm64" ? "arm64" : "x64"}`, "bin", "node"),
    entry: join(root, "dist", "edge.js"),
  };
  await traffic.upgrade(program, signal);
  return "renewed";
}

interface Image {
  readonly id: string;
  readonly build: string | undefined;
  readonly architecture: string;
}

async function imageOf(api: DockerApi, image: string, signal: AbortSignal): Promise<Image | undefined> {
  try {
    const found = await api.json<{
      readonly Id: string;
      readonly Architecture: string;
      readonly Config: { readonly Labels: Readonly<Record<string, string>> | null };
    }>("GET", `/images/${encodeURIComponent(image)}/json`, { signal });
    return { id: found.Id, build: found.Config.Labels?.[edgeLabels.build], architecture: found.Architecture };
  } catch (error) {
    // Somebody cleaned up: the container has what it runs from.
    if (error instanceof DockerError && error.status === 404) return undefined;
    throw error;
  }
}

const folderOf = (home: string, build: string): string => join(home, "programs", build);

/** Where the program that runs lies: in the container's image, or where it was brought to. */
async function rootOf(api: DockerApi, image: string, running: Hello, { facts }: EdgeSettings, signal: AbortSignal): Promise<string> {
  const own = await imageOf(api, image, signal);
  return running.build === undefined || own?.build === running.build ? imageRoot : folderOf(facts.home, running.build);
}

/** Copies a newer image's programs to where the edge's container sees them. Those of before stay until the next one comes: they may still run. */
async function bring(api: DockerApi, { id, build = "" }: Image, settings: EdgeSettings, signal: AbortSignal): Promise<string> {
  const { home } = settings.facts;
  const folder = folderOf(home, build);
  const script =
    'set -e; mkdir -p "$1"; rm -rf "$2.new"; mkdir "$2.new"; cp -a "$0/." "$2.new/"; rm -rf "$2"; mv "$2.new" "$2"; cd "$1"; ls -t | tail -n +3 | xargs -r rm -rf';
  const name = `${edgeContainerName(settings.installation, settings.cluster)}-bring`;
  await runOnce(
    api,
    { image: id, name, folder: home, command: ["/bin/sh", "-c", script, imageRoot, join(home, "programs"), folder] },
    signal,
  );
  return folder;
}
