// Recognises the repository's own Dockerfile and tells what its last stage says. It is never executed or interpreted here.
import { takeNotes, type Draft, type Notes } from "./draft.ts";
import type { Look } from "./source.ts";

export interface Dockerfile {
  readonly file: string;
  readonly stages: readonly { readonly image: string; readonly name?: string }[];
  /** Of the last stage, as written. */
  readonly expose: readonly string[];
  readonly command?: string;
  readonly entrypoint?: string;
}

const names = ["Dockerfile", "Containerfile", "dockerfile"];

/** `named` is the one that was asked for. undefined when the folder has none; one without FROM is warned about and left alone. */
export function readDockerfile(look: Look, named: string | undefined, notes: Notes): Dockerfile | undefined {
  const name = (named === undefined ? names : [named]).find((item) => look.has(item));
  if (name === undefined) return undefined;
  const text = look.read(name);
  // One of an unusual name is known by name only.
  if (text === undefined) return { file: name, stages: [], expose: [] };
  const stages: { image: string; name?: string }[] = [];
  let last: { expose: string[]; command?: string; entrypoint?: string } = { expose: [] };
  for (const { instruction, rest } of instructionsOf(text)) {
    if (instruction === "FROM") {
      const match = /^(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/i.exec(rest);
      if (match === null) continue;
      stages.push({ image: match[1] ?? "", ...(match[2] === undefined ? {} : { name: match[2] }) });
      last = { expose: [] };
    } else if (instruction === "EXPOSE") last.expose.push(...rest.split(/\s+/));
    else if (instruction === "CMD") last.command = rest;
    else if (instruction === "ENTRYPOINT") last.entrypoint = rest;
  }
  if (stages.length === 0) {
    notes.warn("dockerfile_unreadable", { file: look.label(name) });
    return undefined;
  }
  return { file: name, stages, ...last };
}

/** Logical lines: comments dropped, continuation lines joined, here-documents skipped. */
function instructionsOf(text: string): { instruction: string; rest: string }[] {
  const found: { instruction: string; rest: string }[] = [];
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const escape = /^#\s*escape\s*=\s*`\s*$/im.test(lines.slice(0, 3).join("\n")) ? "`" : "\\";
  const lastAt = new Map(lines.map((line, index) => [line.trim(), index]));
  for (let i = 0; i < lines.length; i += 1) {
    if (/^\s*(?:#|$)/.test(lines[i] ?? "")) continue;
    const parts: string[] = [];
    for (; ; i += 1) {
      const line = (lines[i] ?? "").trim();
      const goesOn = line.endsWith(escape) && i + 1 < lines.length;
      if (!line.startsWith("#")) parts.push(goesOn ? line.slice(0, -1) : line);
      if (!goesOn && !(line.startsWith("#") && i + 1 < lines.length)) break;
    }
    const match = /^([A-Za-z]+)\s+(\S.*)$/.exec(parts.join(" "));
    if (match === null) continue;
    const [, instruction = "", rest = ""] = match;
    found.push({ instruction: instruction.toUpperCase(), rest: rest.trim().slice(0, 1000) });
    const marker = /^(?:RUN|COPY|ADD)$/i.test(instruction) ? /<<-?["']?([A-Za-z_]\w*)["']?/.exec(rest)?.[1] : undefined;
    if (marker === undefined || (lastAt.get(marker) ?? -1) <= i) continue;
    while ((lines[i] ?? "").trim() !== marker) i += 1;
  }
  return found;
}

/** The plan that leaves everything to the Dockerfile. Its processes are the image's own unless a Procfile names some. */
export function dockerfileDraft(look: Look, dockerfile: Dockerfile): Draft {
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
