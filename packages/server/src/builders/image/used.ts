// Which images a build stood on, by their digests: as the daemon that built it knows them, and as BuildKit recorded them.
import { readFile } from "node:fs/promises";
import { stagesOf } from "../../core/buildplan/instructions.ts";
import type { BaseImage } from "../../core/attest/provenance.ts";
import { digestOf, isFollowed, partsOf, registryOf, repositoryOf } from "../../core/image/reference.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError } from "../../docker/errors.ts";
import { callBuildctl, type Buildkit } from "./buildctl.ts";
import type { Script } from "./instructions.ts";

/** What a FROM turned out to be: `id` is the beginning of an image's id. */
export interface SeenBase {
  readonly said: string;
  readonly id: string;
}

/** `seen`: those of FROM, which may say a variable or a tag that means another image by now. Errors: DockerError. */
export async function basesOfDocker(api: DockerApi, script: Script, seen: readonly SeenBase[], signal: AbortSignal): Promise<BaseImage[]> {
  const stages = stagesOf(script.instructions);
  const own = new Set(["scratch", ...stages.flatMap(({ name }) => name ?? [])]);
  const copied = script.instructions.flatMap(({ keyword, rest }) =>
    keyword === "COPY" ? (/^(?:--\S+\s+)*?--from=(\S+)/i.exec(rest)?.[1] ?? []) : [],
  );
  const wanted = [
    ...seen.map(({ said, id }) => ({ said, asked: id })),
    ...copied.filter((name) => !/^\d+$/.test(name)).map((said) => ({ said, asked: said })),
  ].filter(({ said }) => !own.has(said.toLowerCase()));
  const found = new Map<string, BaseImage>();
  for (const { said, asked } of wanted) {
    const one = await inspect(api, asked, signal);
    if (one === undefined) continue;
    const name = said.includes("$") ? (one.RepoTags?.[0] ?? one.Id) : said;
    const reference = (one.RepoDigests ?? []).find((text) => repositoryOf(text) === repositoryOf(name)) ?? one.RepoDigests?.[0];
    const digest = reference === undefined ? undefined : digestOf(reference);
    found.set(
      one.Id,
      digest === undefined
        ? { name, uri: "", digest: one.Id, of: "image" }
        : { name, uri: purlOfImage(name, digest), digest, of: "manifest" },
    );
  }
  return [...found.values()];
}

interface Inspected {
  readonly Id: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
}

/** undefined: somebody removed it since. */
async function inspect(api: DockerApi, image: string, signal: AbortSignal): Promise<Inspected | undefined> {
  try {
    return await api.json<Inspected>("GET", `/images/${image}/json`, { signal });
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return undefined;
    throw error;
  }
}

/** As BuildKit writes it: https://github.com/package-url/purl-spec/blob/main/types-doc/docker-definition.md */
function purlOfImage(name: string, digest: string): string {
  const host = registryOf(name);
  const { repository, tag } = partsOf(name);
  const path = host === "default" ? repository : `${host}/${repository}`;
  const at = isFollowed(name) ? `@${encodeURIComponent(tag)}` : "";
  return `pkg:docker/${path.split("/").map(encodeURIComponent).join("/")}${at}?digest=${digest}`;
}

interface History {
  readonly record?: { readonly Ref?: string; readonly Result?: { readonly Attestations?: readonly { readonly digest?: string }[] } };
}
interface Recorded {
  readonly materials?: readonly { readonly uri?: string; readonly digest?: { readonly sha256?: string } }[];
}

/**
 * BuildKit's own provenance of each build is in its history, whatever the build is told about attestations. Only what it stood on is taken from it: the rest
 * has the values of all build arguments. `refFile`: where its client wrote the build's name. Rejects when that is not there.
 */
export async function basesOfBuildkit(buildkit: Buildkit, refFile: string, signal: AbortSignal): Promise<BaseImage[]> {
  const ref = (await readFile(refFile, "utf8")).trim();
  const lines = (await callBuildctl(buildkit, ["debug", "histories", "--format", "{{json .}}"], signal)).split("\n");
  const record = lines
    .filter((line) => line.includes(ref))
    .map((line) => JSON.parse(line) as History)
    .find((one) => one.record?.Ref === ref)?.record;
  const digests = (record?.Result?.Attestations ?? []).flatMap(({ digest }) => digest ?? []);
  if (digests.length === 0) throw new Error("its history has no provenance of this build");
  const found = new Map<string, BaseImage>();
  for (const digest of digests) {
    const { materials = [] } = JSON.parse(await callBuildctl(buildkit, ["debug", "get", digest], signal)) as Recorded;
    for (const { uri = "", digest: of } of materials)
      if (of?.sha256 !== undefined) found.set(uri, { name: nameOf(uri), uri, digest: `sha256:${of.sha256}`, of: "manifest" });
  }
  return [...found.values()];
}

/** `pkg:docker/node@24?platform=...` -> `node:24`; what is no image is called as it is written. */
function nameOf(uri: string): string {
  const [, name, tag] = /^pkg:(?:docker|oci)\/([^@?]+)(?:@([^?]+))?/.exec(uri) ?? [];
  if (name === undefined) return uri;
  return decodeURIComponent(tag === undefined ? name : `${name}:${tag}`);
}
