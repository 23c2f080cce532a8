// Recognises the repository's own Dockerfile and tells what its last stage says. It is never executed or interpreted here.
import { takeNotes, type Draft, type Notes } from "./draft.ts";
import { readInstructions, stagesOf } from "./instructions.ts";
import { secretsOf } from "./needs.ts";
import type { Look } from "./source.ts";

export interface Dockerfile {
  readonly file: string;
  readonly stages: readonly { readonly image: string; readonly name?: string }[];
  /** Of the last stage, as written. */
  readonly expose: readonly string[];
  readonly command?: string;
  readonly entrypoint?: string;
  /** Names of the build secrets that its steps ask for. */
  readonly secrets: readonly string[];
}

const names = ["Dockerfile", "Containerfile", "dockerfile"];

/** `named` is the one that was asked for. undefined when the folder has none; one without FROM is warned about and left alone. */
export function readDockerfile(look: Look, named: string | undefined, notes: Notes): Dockerfile | undefined {
  const name = (named === undefined ? names : [named]).find((item) => look.has(item));
  if (name === undefined) return undefined;
  const text = look.read(name);
  // One of an unusual name is known by name only.
  if (text === undefined) return { file: name, stages: [], expose: [], secrets: [] };
  const { all } = readInstructions(text);
  const stages = stagesOf(all);
  const last = all.slice(all.findLastIndex(({ keyword }) => keyword === "FROM") + 1);
  const lastOf = (name: string): string | undefined => last.findLast(({ keyword }) => keyword === name)?.rest.slice(0, 1000);
  const command = lastOf("CMD");
  const entrypoint = lastOf("ENTRYPOINT");
  if (stages.length === 0) {
    notes.warn("dockerfile_unreadable", { file: look.label(name) });
    return undefined;
  }
  return {
    file: name,
    stages,
    expose: last.filter(({ keyword }) => keyword === "EXPOSE").flatMap(({ rest }) => rest.slice(0, 1000).split(/\s+/)),
    secrets: secretsOf(all).map(({ id }) => id),
    ...(command === undefined ? {} : { command }),
    ...(entrypoint === undefined ? {} : { entrypoint }),
  };
}

/** The plan that leaves everything to the Dockerfile. Its processes are the image's own unless a Procfile names some. */
export function dockerfileDraft(look: Look, dockerfile: Dockerfile, target: string | undefined): Draft {
  const notes = takeNotes();
  noteDockerfile(look, dockerfile, notes, "is built as it is");
  return {
    kind: "dockerfile",
    root: look.root,
    strength: "manifest",
    tools: [],
    steps: [],
    processes: {},
    env: {},
    caches: [],
    exclude: [],
    dockerfile: dockerfile.file,
    ...(target === undefined ? {} : { target }),
    secrets: dockerfile.secrets,
    notes,
  };
}

export function noteDockerfile(look: Look, dockerfile: Dockerfile, notes: Notes, verdict: string): void {
  const file = look.label(dockerfile.file);
  const base = dockerfile.stages.at(-1)?.image;
  const stages = dockerfile.stages.length === 1 ? "" : `, in ${dockerfile.stages.length} stages`;
  notes.found(file, base === undefined ? verdict : `${verdict}: its image comes from ${base}${stages}`);
  if (dockerfile.expose.length > 0) notes.found(file, `exposes ${dockerfile.expose.join(", ")}`);
  const start = [dockerfile.entrypoint, dockerfile.command].filter((item) => item !== undefined).join(" ");
  if (start !== "") notes.found(file, `starts ${start}`);
}
