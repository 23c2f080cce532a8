// Decides what kind of project a folder is and how it becomes an artifact. Pure: the caller has read the files. It must never throw, whatever the
// files hold; what cannot be understood becomes a warning or a cause.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import { readAppJson, type AppJson } from "./appjson.ts";
import { programOf } from "./command.ts";
import { dockerfileDraft, noteDockerfile, readDockerfile } from "./dockerfile.ts";
import { isBroken, takeNotes, type Broken, type Detector, type Draft, type Kind, type Notes } from "./draft.ts";
import { detectGo } from "./go.ts";
import { detectJava } from "./java.ts";
import { detectNode } from "./node.ts";
import { neededElsewhere } from "./outside.ts";
import { detectPhp } from "./php.ts";
import { readProcfile, type Procfile } from "./procfile.ts";
import { detectPython } from "./python.ts";
import { detectRuby } from "./ruby.ts";
import { detectRust } from "./rust.ts";
import { baseOf, lookInto, parentOf, type Look, type SourceTree } from "./source.ts";
import { detectStatic } from "./static.ts";

export { filesOfInterest } from "./interest.ts";

export interface DetectOptions {
  /** The folder to build, from the source's top; `.` for all of it. */
  readonly root: string;
  /** `process`: a plan that runs as processes wins over a Dockerfile; `image`: the Dockerfile wins. */
  readonly prefer: "process" | "image";
  /** Another Dockerfile than the usual one, relative to the folder. */
  readonly dockerfile?: string;
  /** The stage of the Dockerfile that is asked for; its last one otherwise. */
  readonly target?: string;
}

export type Detected = { readonly ok: true; readonly plan: BuildPlan } | { readonly ok: false; readonly cause: Cause };

/** A language with a manifest comes before one that is only hinted at; among equals this order decides, since most projects carry a package.json for tools. */
const detectors: readonly (readonly [Kind, Detector])[] = [
  ["php", detectPhp],
  ["ruby", detectRuby],
  ["java", detectJava],
  ["go", detectGo],
  ["rust", detectRust],
  ["python", detectPython],
  ["node", detectNode],
  ["static", detectStatic],
];

const known =
  "package.json, requirements.txt, pyproject.toml, go.mod, pom.xml, build.gradle, composer.json, Gemfile, Cargo.toml, index.html, Dockerfile";

/** Causes: `plan_not_detected`, `plan_in_subfolder`, `manifest_invalid`. */
export function detectBuildPlan(tree: SourceTree, options: DetectOptions): Detected {
  const root = normalRoot(options.root);
  if (root === undefined)
    return {
      ok: false,
      cause: cause("plan_not_detected", { dir: options.root, known }, [evidence("The folder has to lie inside the source.")]),
    };
  const look = lookInto(tree, root);
  const notes = takeNotes();
  const procfile = readProcfile(look, notes);
  const appJson = readAppJson(look, notes);
  const dockerfile = readDockerfile(look, options.dockerfile, notes);
  const gone =
    options.dockerfile !== undefined && !look.has(options.dockerfile)
      ? cause("dockerfile_missing", { dir: root === "." ? "The folder" : root, file: options.dockerfile }, dockerfilesOf(look))
      : undefined;
  if (gone !== undefined && options.prefer === "image") return { ok: false, cause: gone };
  if (dockerfile !== undefined && options.prefer === "image")
    return complete(dockerfileDraft(look, dockerfile, options.target), notes, procfile, appJson);

  const answers = detectors.flatMap(([kind, detect]) => {
    const answer = detect(look);
    return answer === undefined ? [] : [{ kind, answer }];
  });
  const drafts = answers.map(({ answer }) => answer).filter((answer): answer is Draft => !isBroken(answer));
  const broken = answers.map(({ answer }) => answer).filter((answer): answer is Broken => isBroken(answer));
  const chosen = choose(drafts, procfile, appJson, notes);
  // Told now, in words, instead of by whatever the package manager makes of it in the middle of the build.
  const outside = neededElsewhere(look).find(({ path }) => path === undefined || path.startsWith(".."));
  if (chosen !== undefined && outside !== undefined)
    return { ok: false, cause: cause("outside_source", { file: outside.file, what: outside.what }) };
  const [firstBroken] = broken;
  if (firstBroken !== undefined && (chosen === undefined || chosen.strength === "file")) return { ok: false, cause: firstBroken.broken };
  for (const { broken: why } of broken)
    notes.warn("file_unreadable", { file: String(why.params["file"] ?? ""), reason: String(why.params["reason"] ?? "") });
  if (chosen !== undefined) {
    if (dockerfile !== undefined) {
      noteDockerfile(look, dockerfile, chosen.notes, "is not used, because the project can run as a process");
      notes.warn("dockerfile_not_used", { file: look.label(dockerfile.file), kind: chosen.kind });
    }
    if (gone !== undefined) notes.warn("dockerfile_missing", { file: options.dockerfile ?? "" });
    return complete(chosen, notes, procfile, appJson);
  }
  if (procfile !== undefined) {
    if (dockerfile !== undefined) notes.warn("dockerfile_not_used", { file: look.label(dockerfile.file), kind: "procfile" });
    return complete(procfileDraft(look, procfile), notes, procfile, appJson);
  }
  if (gone !== undefined) return { ok: false, cause: gone };
  if (dockerfile !== undefined) return complete(dockerfileDraft(look, dockerfile, options.target), notes, procfile, appJson);
  return { ok: false, cause: notDetected(look) };
}

/** undefined for what is absolute or leads out of the source. */
function normalRoot(root: string): string | undefined {
  const parts = root.split("/").filter((part) => part !== "" && part !== ".");
  return root.startsWith("/") || root.includes("\\") || parts.includes("..") ? undefined : parts.join("/") || ".";
}

/** Hints of app.json and Procfile first, then projects with a manifest, then those that say how they start. */
function choose(drafts: readonly Draft[], procfile: Procfile | undefined, appJson: AppJson | undefined, notes: Notes): Draft | undefined {
  const hinted = [...(appJson?.languages.slice(-1) ?? []), ...hintsOf(procfile)];
  const rank = (draft: Draft): number => {
    const hint = hinted.indexOf(draft.kind);
    return (
      (hint < 0 ? 1000 : hint * 10) +
      (draft.strength === "manifest" ? 0 : 200) +
      (Object.keys(draft.processes).length > 0 ? 0 : 100) +
      drafts.indexOf(draft)
    );
  };
  const [chosen, ...others] = drafts.toSorted((a, b) => rank(a) - rank(b));
  if (chosen === undefined) return undefined;
  if (hinted.includes(chosen.kind) && others.length > 0)
    notes.found(
      (appJson?.languages.length ?? 0) > 0 ? (appJson?.file ?? "") : (procfile?.file ?? ""),
      `says that the project is ${chosen.kind}`,
    );
  const assets = chosen.exclude.includes("node_modules");
  const rivals = others.filter((draft) => draft.strength === "manifest" && !(draft.kind === "node" && assets));
  if (hinted.includes(chosen.kind))
    for (const rival of rivals) notes.found(rival.notes.findings[0]?.file ?? "", `would make it a ${rival.kind} project; not taken`);
  else if (rivals.length > 0)
    notes.warn("several_languages", { others: rivals.map((draft) => draft.kind).join(", "), chosen: chosen.kind });
  return chosen;
}

const languageOf: Readonly<Record<string, Kind>> = {
  node: "node",
  npm: "node",
  npx: "node",
  pnpm: "node",
  yarn: "node",
  next: "node",
  tsx: "node",
  python: "python",
  python3: "python",
  gunicorn: "python",
  uvicorn: "python",
  celery: "python",
  flask: "python",
  hypercorn: "python",
  daphne: "python",
  poetry: "python",
  uv: "python",
  streamlit: "python",
  waitress: "python",
  ruby: "ruby",
  rails: "ruby",
  puma: "ruby",
  rackup: "ruby",
  sidekiq: "ruby",
  rake: "ruby",
  java: "java",
  php: "php",
  "heroku-php-apache2": "php",
  "heroku-php-nginx": "php",
};

/** Languages of the programs that a Procfile starts, the web one first. */
function hintsOf(procfile: Procfile | undefined): Kind[] {
  if (procfile === undefined) return [];
  const commands = [procfile.processes.get("web"), ...procfile.processes.values()].filter((command) => command !== undefined);
  const kinds = commands.map((command) => languageIn(command)).filter((kind) => kind !== undefined);
  return [...new Set(kinds)];
}

function languageIn(command: Command): Kind | undefined {
  const program = programOf(command) ?? "";
  return Object.hasOwn(languageOf, program) ? languageOf[program] : undefined;
}

/** Only a Procfile: nothing is built, and its programs have to be there. */
function procfileDraft(look: Look, procfile: Procfile): Draft {
  const tools = hintsOf(procfile).map((kind) => ({ name: kind, wanted: "*", why: "the Procfile starts it", phase: "run" as const }));
  return {
    kind: "procfile",
    root: look.root,
    strength: "manifest",
    tools,
    steps: [],
    processes: {},
    env: {},
    caches: [],
    exclude: [],
    notes: takeNotes(),
  };
}

/** Puts Procfile and app.json over what the ecosystem says. */
function complete(draft: Draft, notes: Notes, procfile: Procfile | undefined, appJson: AppJson | undefined): Detected {
  const { findings, warnings } = draft.notes;
  const all: Notes = takeNotes();
  all.findings.push(...findings, ...notes.findings);
  all.warnings.push(...warnings.filter(({ code }) => procfile === undefined || !startWarnings.has(code)), ...notes.warnings);
  const plan: BuildPlan = {
    kind: draft.kind,
    ...(draft.flavour === undefined ? {} : { flavour: draft.flavour }),
    root: draft.root,
    tools: [...draft.tools],
    steps: [...draft.steps],
    processes: processesOf(draft, procfile, all),
    env: envOf(draft, appJson, all),
    caches: [...draft.caches],
    exclude: [...new Set(draft.exclude)],
    ...(draft.staticSite === undefined || procfile?.processes.has("web") === true ? {} : { staticSite: draft.staticSite }),
    ...(draft.dockerfile === undefined ? {} : { dockerfile: draft.dockerfile }),
    ...(draft.target === undefined ? {} : { target: draft.target }),
    ...(draft.secrets === undefined || draft.secrets.length === 0 ? {} : { secrets: [...draft.secrets] }),
    ...(appJson === undefined ? {} : { app: appJson.app }),
    findings: all.findings.slice(0, mostNotes),
    warnings: all.warnings.slice(0, mostNotes),
  };
  return { ok: true, plan };
}

/** A plan is stored and shown; a file full of mistakes must not fill it. */
const mostNotes = 200;

/** They speak of a start command that a Procfile replaces. */
const startWarnings: ReadonlySet<string> = new Set([
  "development_server",
  "server_missing",
  "port_fixed",
  "several_programs",
  "adapter_missing",
  "not_runnable",
]);

function processesOf(draft: Draft, procfile: Procfile | undefined, notes: Notes): BuildPlan["processes"] {
  if (procfile === undefined) return { ...draft.processes };
  const names = [...procfile.processes.keys()];
  // A line for releases alone says nothing about how the project starts.
  const base = names.every((name) => name === "release") ? Object.entries(draft.processes) : [];
  notes.found(procfile.file, `names the process type${names.length === 1 ? "" : "s"} ${names.join(", ")}`);
  if (base.length === 0 && Object.keys(draft.processes).length > 0)
    notes.found(procfile.file, "decides about processes alone; what the project itself suggests is not used");
  return Object.fromEntries([
    ...base,
    ...[...procfile.processes].map(([name, command]): [string, BuildPlan["processes"][string]] => [name, { command, why: "Procfile" }]),
  ]);
}

/** Values of app.json, below whatever the plan needs in order to find its own files. */
function envOf(draft: Draft, appJson: AppJson | undefined, notes: Notes): BuildPlan["env"] {
  const env = new Map(Object.entries(draft.env));
  for (const [name, { value }] of Object.entries(appJson?.app.env ?? {})) {
    if (value === undefined) continue;
    if (env.get(name)?.includes("$ROOT") === true || name === "PATH" || name === "PORT")
      notes.warn("env_ignored", { file: appJson?.file ?? "", name });
    else env.set(name, value);
  }
  return Object.fromEntries(env);
}

const manifests: ReadonlySet<string> = new Set([
  "package.json",
  "requirements.txt",
  "pyproject.toml",
  "go.mod",
  "pom.xml",
  "build.gradle",
  "build.gradle.kts",
  "composer.json",
  "Gemfile",
  "Cargo.toml",
  "Procfile",
  "Dockerfile",
  "index.html",
  "main.py",
  "manage.py",
  "main.go",
]);

/** Says which folders below could be built, when the folder itself could not. */
function notDetected(look: Look): Cause {
  if (look.files.length === 0) return cause("plan_not_detected", { dir: look.root, known }, [evidence(`${look.root} has no files.`)]);
  const projects = [...new Set(look.files.filter((file) => manifests.has(baseOf(file))).map(parentOf))].filter(
    (folder) => folder.split("/").length <= 4,
  );
  const outer = projects.filter((folder) => !projects.some((other) => folder.startsWith(`${other}/`))).map((folder) => look.label(folder));
  const [first] = outer;
  if (first === undefined) return cause("plan_not_detected", { dir: look.root, known }, [evidence(`Files at the top: ${topFiles(look)}`)]);
  return cause(
    "plan_in_subfolder",
    { dir: look.root, folders: outer.slice(0, 10).join(", "), first },
    outer.slice(0, 20).map((folder) => evidence(`${folder} looks like a project.`)),
  );
}

function dockerfilesOf(look: Look): Evidence[] {
  return look.files
    .filter((file) => /(?:^|[./])(?:[Dd]ockerfile|Containerfile)/.test(file))
    .slice(0, 5)
    .map((file) => evidence(`${look.label(file)} is there.`));
}

function topFiles(look: Look): string {
  const top = look.files.filter((file) => !file.includes("/"));
  return top.length === 0 ? "none" : top.slice(0, 20).join(", ");
}

function evidence(text: string): Evidence {
  return { kind: "file", text: text.slice(0, 4096) };
}
