// The repository's own Dockerfile and its .dockerignore, read from the stored source, and what of it a builder refuses before anything starts.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { entryPath } from "../../core/archive.ts";
import { readInstructions, stagesOf, type Instructions } from "../../core/buildplan/instructions.ts";
import { needsOf, secretsOf, sshLine } from "../../core/buildplan/needs.ts";
import { joinPath, parentOf } from "../../core/buildplan/source.ts";
import { compileIgnore, ignorePatterns, type Ignored } from "../../core/image/ignore.ts";
import type { BlobReader, BuildRequest } from "../builder.ts";
import { readTar } from "../untar.ts";
import { needOfBuildah, unknownInstruction } from "./buildah-file.ts";
import { below } from "./context.ts";

export interface OwnFile {
  /** Relative to the plan's root. */
  readonly path: string;
  readonly text: string;
  readonly read: Instructions;
  /** What its .dockerignore leaves out. */
  readonly ignored: Ignored;
}

export type OwnFileOutcome = { readonly ok: true; readonly file: OwnFile } | { readonly ok: false; readonly cause: Cause };

/** What a builder can do with a Dockerfile. */
export type Dialect = "classic" | "buildkit" | "buildah";

/** Bytes of a Dockerfile or .dockerignore: more is none. */
const largest = 1024 * 1024;
/** More is nobody's intention, and each is looked for by what a builder calls it. */
const mostInstructions = 1000;
/** Links to links. */
const mostHops = 8;

/** Causes: `dockerfile_missing`; `dockerfile_unusable` for one that is too large or whose .dockerignore is. `<Dockerfile>.dockerignore` wins over `.dockerignore`, as in BuildKit. */
export async function readOwnFile(
  blobs: BlobReader,
  request: Pick<BuildRequest, "sourceDigest" | "plan">,
  signal: AbortSignal,
): Promise<OwnFileOutcome> {
  const { plan } = request;
  const path = joinPath(".", plan.dockerfile ?? "Dockerfile");
  const ownIgnore = `${path}.dockerignore`;
  const pathIn = (wanted: readonly string[]): Promise<Texts> => readTexts(blobs, request, wanted, signal);
  let texts = await pathIn([path, ownIgnore, ".dockerignore"]);
  let at = path;
  for (let hops = 0; hops < mostHops && texts.links.has(at); hops += 1) at = joinPath(parentOf(at), texts.links.get(at) ?? "");
  if (at !== path) texts = { ...texts, files: new Map([...texts.files, ...(await pathIn([at])).files]) };
  const text = texts.files.get(at);
  if (text === undefined)
    return { ok: false, cause: cause("dockerfile_missing", { dir: plan.root === "." ? "The folder" : plan.root, file: path }) };
  if (text === "too large") return unusable(path, "it is larger than 1 MiB");
  const ignoreFile = [ownIgnore, ".dockerignore"].find((name) => texts.files.has(name));
  const ignoreText = ignoreFile === undefined ? Buffer.alloc(0) : texts.files.get(ignoreFile);
  if (ignoreText === "too large") return unusable(ignoreFile ?? "", "it is larger than 1 MiB");
  const patterns = ignorePatterns((ignoreText ?? "").toString());
  try {
    const content = text.toString();
    return { ok: true, file: { path, text: content, read: readInstructions(content), ignored: compileIgnore(patterns) } };
  } catch (error) {
    if (error instanceof RangeError) return unusable(ignoreFile ?? "", `it has ${error.message}`);
    throw error;
  }
}

/**
 * Why a builder of this dialect does not begin with it; undefined when it can. Causes: `build_secrets_need_buildkit`, `dockerfile_needs_buildkit`,
 * `build_secret_missing`, `dockerfile_unusable`.
 */
export function refuseOwnFile(
  { path, read }: Pick<OwnFile, "path" | "read">,
  request: Pick<BuildRequest, "plan" | "secrets">,
  dialect: Dialect,
): Cause | undefined {
  if (read.all.length > mostInstructions) return unusable(path, `it has more than ${String(mostInstructions)} instructions`).cause;
  const stages = stagesOf(read.all);
  if (stages.length === 0) return unusable(path, "it has no FROM line").cause;
  const { target } = request.plan;
  if (target !== undefined && !hasStage(stages, target))
    return unusable(path, `it has no stage ${target}; it has ${stages.map(({ name }, index) => name ?? String(index)).join(", ")}`).cause;
  const secrets = secretsOf(read.all);
  const [first] = secrets;
  if (dialect === "classic" && first !== undefined)
    return cause("build_secrets_need_buildkit", { file: path, names: secrets.map(({ id }) => id).join(", ") }, [
      lineEvidence(path, read, first.line),
    ]);
  const ssh = sshLine(read.all);
  if (ssh !== undefined)
    return cause(
      "dockerfile_unusable",
      { where: `Line ${String(ssh)} of ${path}`, reason: "there is no ssh agent in a build; a key can be given as a build secret" },
      [lineEvidence(path, read, ssh)],
    );
  if (dialect === "classic") {
    const [need] = needsOf(read);
    return need === undefined
      ? undefined
      : cause("dockerfile_needs_buildkit", { file: path, line: need.line, what: need.what }, [lineEvidence(path, read, need.line)]);
  }
  if (dialect === "buildah") {
    const unknown = unknownInstruction(read);
    if (unknown !== undefined) return unusable(path, `line ${String(unknown.line)}: unknown instruction: ${unknown.word}`).cause;
    const need = needOfBuildah(read);
    if (need !== undefined)
      return cause("dockerfile_needs_buildkit", { file: path, line: need.line, what: need.what }, [lineEvidence(path, read, need.line)]);
  }
  const syntax = read.directives.get("syntax");
  // Another language's reader is a program, of somebody's image, that could name the caches of others: decision 23.
  if (syntax !== undefined && !/^(?:[\w.:-]+\/)?docker\/dockerfile(?:-upstream)?(?:[:@]|$)/.test(syntax.value.split(" ")[0] ?? ""))
    return cause("dockerfile_unusable", {
      where: `Line ${String(syntax.line)} of ${path}`,
      reason: `only docker/dockerfile may be its syntax, not ${syntax.value.slice(0, 200)}`,
    });
  const lacking = secrets.find(({ id, required }) => required && request.secrets?.[id] === undefined);
  return lacking === undefined
    ? undefined
    : cause("build_secret_missing", { file: path, line: lacking.line, secret: lacking.id }, [lineEvidence(path, read, lacking.line)]);
}

/** What can be said from the plan alone, before there is a build. Cause: `build_secrets_need_buildkit`. */
export function refusePlan(plan: BuildPlan, dialect: Dialect): Cause | undefined {
  if (dialect !== "classic" || plan.secrets === undefined || plan.secrets.length === 0) return undefined;
  const file = plan.dockerfile ?? "Dockerfile";
  return cause("build_secrets_need_buildkit", { file, names: plan.secrets.join(", ") });
}

/** By name, or by its number from 0. */
function hasStage(stages: readonly { readonly name?: string }[], target: string): boolean {
  return stages.some(({ name }) => name === target.toLowerCase()) || (/^\d{1,4}$/.test(target) && Number(target) < stages.length);
}

function unusable(where: string, reason: string): { readonly ok: false; readonly cause: Cause } {
  return { ok: false, cause: cause("dockerfile_unusable", { where, reason }) };
}

/** The line as it is written, for people who look for it. */
function lineEvidence(path: string, read: Instructions, line: number): Evidence {
  const found = read.all.find((one) => one.line === line);
  const directive = [...read.directives].find(([, one]) => one.line === line);
  const text = found === undefined ? `# ${directive?.[0] ?? ""}=${directive?.[1].value ?? ""}` : `${found.keyword} ${found.rest}`;
  return { kind: "file", text: `${path}:${String(line)}: ${text}`.slice(0, 1000) };
}

interface Texts {
  readonly files: ReadonlyMap<string, Buffer | "too large">;
  /** Every link of the source, as seen from the root, and where it points. */
  readonly links: ReadonlyMap<string, string>;
}

async function readTexts(
  blobs: BlobReader,
  { sourceDigest, plan }: Pick<BuildRequest, "sourceDigest" | "plan">,
  wanted: readonly string[],
  signal: AbortSignal,
): Promise<Texts> {
  const files = new Map<string, Buffer | "too large">();
  const links = new Map<string, string>();
  for await (const { raw, content } of readTar(await blobs.open(sourceDigest, signal), { signal })) {
    const path = below(plan.root, entryPath(raw.name));
    if (path === undefined) continue;
    if (raw.type === "symlink") links.set(path, raw.linkname ?? "");
    if (raw.type !== "file" || !wanted.includes(path)) continue;
    if (raw.size > largest) {
      files.set(path, "too large");
      continue;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    files.set(path, Buffer.concat(chunks));
  }
  return { files, links };
}
