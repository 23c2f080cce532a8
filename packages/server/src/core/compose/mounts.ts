// Volumes: named ones of the stack, and where a service has them. Folders of the machine are refused, with what to do instead.
import type { VolumeMount } from "@berth/contract/spec.ts";
import { nearest } from "../nearest.ts";
import { mendName } from "./names.ts";
import { get, type Position, type Tree } from "./tree.ts";
import { checkKeys, complain, flagOf, itemsOf, mappingOf, refuse, textOf, type Place } from "./values.ts";

export interface TopVolumes {
  readonly names: ReadonlyMap<string, string>;
  readonly volumes: ReadonlyMap<string, { readonly external: boolean }>;
}

export function readTopVolumes(findings: Place["findings"], tree: Tree | undefined): TopVolumes {
  const names = new Map<string, string>();
  const volumes = new Map<string, { external: boolean }>();
  for (const entry of mappingOf({ findings, component: "the stack" }, tree, "volumes")?.entries.values() ?? []) {
    const place = { findings, component: `volume ${entry.key}` };
    const volume = mappingOf(place, entry.value, entry.key);
    if (volume !== undefined) checkKeys(place, "volume", volume);
    const external = get(volume, "external");
    const isExternal = external?.type === "mapping" || flagOf(place, external, "external") === true;
    const called = isExternal ? textOf(place, get(volume, "name") ?? get(external, "name"), "name") : undefined;
    const name = mendName(place, "volume", called ?? entry.key, entry.keyAt, names);
    names.set(entry.key, name);
    volumes.set(name, { external: isExternal });
  }
  return { names, volumes };
}

export function readMounts(place: Place, tree: Tree | undefined, known: ReadonlyMap<string, string>): VolumeMount[] {
  const mounts = new Map<string, VolumeMount>();
  for (const item of itemsOf(place, tree, "volumes")) {
    const mount = item.type === "mapping" ? longMount(place, item, known) : shortMount(place, item, known);
    if (mount !== undefined) mounts.set(mount.path, mount);
  }
  return [...mounts.values()];
}

/** `NAME:/path[:ro]`, or `/path` alone for a volume without a name. */
function shortMount(place: Place, item: Tree, known: ReadonlyMap<string, string>): VolumeMount | undefined {
  const text = textOf(place, item, "volumes");
  if (text === undefined || text === "") return complain(place, item.at, "volumes", "this names no volume", "Write `NAME:/path`.");
  const parts = /^[A-Za-z]:[\\/]/.test(text)
    ? [text.slice(0, 2) + (text.slice(2).split(":")[0] ?? ""), ...text.slice(2).split(":").slice(1)]
    : text.split(":");
  const [source = "", target, options] = parts;
  if (parts.length > 3 || parts.some((part) => part === ""))
    return complain(place, item.at, "volumes", `\`${text}\` is not a volume`, "Write `NAME:/path`, or `NAME:/path:ro`.");
  if (target === undefined) return anonymous(place, source, item.at);
  if (isFolder(source)) return bind(place, source, item.at);
  return mountOf(place, source, target, options?.split(",").includes("ro") === true, item.at, known);
}

function longMount(place: Place, item: Tree, known: ReadonlyMap<string, string>): VolumeMount | undefined {
  if (item.type !== "mapping") return undefined;
  const type = textOf(place, get(item, "type"), "type") ?? "volume";
  const source = textOf(place, get(item, "source"), "source");
  const target = textOf(place, get(item, "target"), "target");
  switch (type) {
    case "volume":
      break;
    case "tmpfs":
      place.findings.note("compose_key_ignored", item.at, place.component, {
        key: "volumes.tmpfs",
        instead: "every instance has a temporary folder of its own",
      });
      return undefined;
    case "bind":
      return bind(place, source ?? "", item.at);
    case "npipe":
    case "cluster":
    case "image":
      return refuse(place, item.at, `volumes.${type}`, `mounts of the type ${type} are not possible`, "Use a named volume.");
    default:
      return complain(place, get(item, "type")?.at ?? item.at, "volumes.type", `\`${type}\` is not a type of mount`, "Write `volume`.");
  }
  checkKeys(place, "mount", item);
  const options = mappingOf(place, get(item, "volume"), "volume");
  if (options !== undefined) checkKeys(place, "mountVolume", options);
  if (target === undefined) return complain(place, item.at, "volumes", "this mount has no `target`", "Add `target: /path`.");
  if (source === undefined || source === "") return anonymous(place, target, item.at);
  return mountOf(place, source, target, flagOf(place, get(item, "read_only"), "read_only") === true, item.at, known);
}

function mountOf(
  place: Place,
  source: string,
  target: string,
  readOnly: boolean,
  at: Position,
  known: ReadonlyMap<string, string>,
): VolumeMount | undefined {
  const volume = known.get(source);
  if (volume === undefined) {
    const close = nearest(source, [...known.keys()]);
    return complain(
      place,
      at,
      "volumes",
      `there is no volume ${source} at the top of the file`,
      close === undefined ? `Add \`volumes: { ${source}: }\` there.` : `Did you mean ${close}?`,
    );
  }
  if (!target.startsWith("/"))
    return complain(
      place,
      at,
      "volumes",
      `\`${target}\` is not an absolute path`,
      "Write where the volume is in the instance, as `/data`.",
    );
  return { volume, path: cleanAbsolute(target), ...(readOnly ? { readOnly: true } : {}) };
}

function cleanAbsolute(path: string): string {
  const out: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") out.pop();
    else if (part !== "" && part !== ".") out.push(part);
  }
  return `/${out.join("/")}`;
}

function isFolder(source: string): boolean {
  return /^[./~\\]/.test(source) || /^[A-Za-z]:[\\/]/.test(source);
}

function anonymous(place: Place, path: string, at: Position): undefined {
  place.findings.note("compose_volume_anonymous", at, place.component, { path });
  return undefined;
}

function bind(place: Place, source: string, at: Position): undefined {
  if (/docker\.sock|containerd\.sock|podman\.sock/.test(source))
    return refuse(
      place,
      at,
      "volumes",
      `${source}: whoever holds the container engine's socket owns the machine`,
      "Use Berth's API with a token instead.",
    );
  return refuse(
    place,
    at,
    "volumes",
    `${source}: folders of the machine are not reachable`,
    /^\.{1,2}(?:\/|$)/.test(source)
      ? "The build takes the project's files along, so leave it out; for data use a named volume."
      : "Use a named volume, and copy the data into it.",
  );
}
