// Go: one binary for each program, in `.berth/bin`. Modules that lie outside the folder (go.work, local replace) widen the plan's root.
import type { BuildStep } from "@berth/contract/buildplan.ts";
import { inFolder } from "./command.ts";
import { exec, step, takeNotes, type Draft, type Notes, type Processes } from "./draft.ts";
import { rangeOfPin } from "./ranges.ts";
import { baseOf, foldersUp, joinPath, parentOf, relativePath, type Look } from "./source.ts";
import { chooseVersion, saidBySwitchers, type VersionSaid } from "./versions.ts";

const flavours: readonly (readonly [string, string])[] = [
  ["github.com/gin-gonic/gin", "gin"],
  ["github.com/labstack/echo", "echo"],
  ["github.com/gofiber/fiber", "fiber"],
  ["github.com/go-chi/chi", "chi"],
  ["github.com/gorilla/mux", "gorilla"],
  ["github.com/beego/beego", "beego"],
];

export function detectGo(look: Look): Draft | undefined {
  const module = look.read("go.mod");
  const sources = look.files.filter((file) => !file.includes("/") && file.endsWith(".go") && !file.endsWith("_test.go"));
  if (!look.has("go.mod") && !sources.includes("main.go")) return undefined;
  const notes = takeNotes();
  notes.found(
    look.label(module === undefined ? "main.go" : "go.mod"),
    module === undefined ? "a Go program without a go.mod" : `a Go module${named(module)}`,
  );
  const root = widenedByGo(look, module ?? "", notes);
  const folder = relativePath(root, look.root);
  const programs = goPrograms(look, sources, notes);
  const outside = requires(module ?? "");
  const vendored = look.has("vendor/modules.txt") || look.at(root).has("vendor/modules.txt");
  const flavour = flavours.find(([path]) => outside.some((item) => item === path || item.startsWith(`${path}/`)))?.[1];
  const sums = vendored ? undefined : look.read("go.sum");
  const missing = sums === undefined ? undefined : outside.slice(0, 500).find((item) => !sums.includes(`${item} `));
  if (missing !== undefined)
    notes.warn("lockfile_outdated", {
      lockfile: look.label("go.sum"),
      manifest: look.label("go.mod"),
      detail: `${missing} is missing`,
      command: "go mod tidy",
    });
  const network = outside.length > 0 && !vendored;
  if (vendored) notes.found(look.label("vendor/modules.txt"), "modules are in the source: nothing is downloaded");
  const processes = new Map<string, Processes[string]>();
  for (const { type, binary, source } of programs) {
    const command = exec(joinPath(relativePath(look.root, root), `.berth/bin/${binary}`));
    processes.set(type, { command: inFolder(folder, command), why: `built from ${source}` });
  }
  return {
    kind: "go",
    flavour,
    root,
    strength: module === undefined ? "file" : "manifest",
    tools: [{ name: "go", ...goVersion(look, module ?? "", notes), phase: "build" }],
    steps: uniqueBinaries(programs).map((program) => buildStep(program, folder, module === undefined ? sources : undefined, network)),
    processes: Object.fromEntries(processes),
    env: {},
    caches: [{ name: "go", env: { GOMODCACHE: "$CACHE/mod", GOCACHE: "$CACHE/build", GOFLAGS: "-modcacherw" } }],
    exclude: [],
    notes,
  };
}

interface Program {
  readonly type: string;
  readonly binary: string;
  /** A folder (or `.`) with package main. */ readonly source: string;
}

function buildStep(program: Program, folder: string, files: readonly string[] | undefined, network: boolean): BuildStep {
  const output =
    folder === "."
      ? `.berth/bin/${program.binary}`
      : `${folder
          .split("/")
          .map(() => "..")
          .join("/")}/.berth/bin/${program.binary}`;
  const what = files ?? [program.source === "." ? "." : `./${program.source}`];
  return step(
    "build",
    inFolder(folder, exec("go", "build", "-trimpath", "-ldflags=-s -w", "-o", output, ...what)),
    program.source === "." ? "package main is at the top" : `package main is in ${program.source}`,
    network,
  );
}

/** At the top, else each folder below `cmd`; the web one is the only one, or the one whose name says so. */
function goPrograms(look: Look, sources: readonly string[], notes: Notes): Program[] {
  const texts = sources.map((file) => look.read(file)).filter((text) => text !== undefined);
  const commands = look.files.filter((file) => /^cmd\/[^/]+\/main\.go$/.test(file)).map(parentOf);
  if (
    sources.includes("main.go") ||
    texts.some((text) => /^package main\b/m.test(text)) ||
    (sources.length > 0 && texts.length === 0 && commands.length === 0)
  )
    return [{ type: "web", binary: "app", source: "." }];
  if (look.has("cmd/main.go")) return [{ type: "web", binary: "app", source: "cmd" }];
  const [only] = commands;
  if (commands.length === 1 && only !== undefined) {
    const worker = /^(?:worker|jobs?|consumer)$/.test(baseOf(only));
    return [{ type: worker ? "worker" : "web", binary: baseOf(only), source: only }];
  }
  const programs = commands
    .filter((folder) => /^[A-Za-z0-9_-]{1,63}$/.test(baseOf(folder)))
    .map((folder): Program => ({ type: baseOf(folder), binary: baseOf(folder), source: folder }));
  const moduleName = baseOf(/^module[ \t]+(\S+)/m.exec(look.read("go.mod") ?? "")?.[1] ?? "");
  const web = ["web", "server", "api", "app", "http", moduleName]
    .map((name) => programs.find((program) => program.type === name))
    .find((program) => program !== undefined);
  if (web === undefined && programs.length > 0)
    notes.warn("several_programs", { programs: programs.map((program) => program.source).join(", ") });
  return web === undefined || web.type === "web" ? programs : [{ ...web, type: "web" }, ...programs];
}

function uniqueBinaries(programs: readonly Program[]): Program[] {
  return programs.filter((program, index) => programs.findIndex((other) => other.binary === program.binary) === index);
}

function named(module: string): string {
  const name = /^module[ \t]+(\S+)/m.exec(module)?.[1];
  return name === undefined ? "" : ` named ${name}`;
}

/** Module paths that go.mod requires, those in `require ( ... )` blocks too. */
function requires(module: string): string[] {
  const inside = directives(module);
  const local = new Set(
    inside.filter(({ verb, words }) => verb === "replace" && /^\.{1,2}\//.test(words.at(-1) ?? "")).map(({ words }) => words[0]),
  );
  return inside
    .filter(({ verb, words }) => verb === "require" && /^v\d/.test(words[1] ?? ""))
    .map(({ words }) => words[0] ?? "")
    .filter((path) => !local.has(path));
}

/** The lines of a go.mod or go.work, those in `verb ( ... )` blocks too, each with its verb. */
function directives(text: string): { readonly verb: string; readonly words: readonly string[] }[] {
  const found: { verb: string; words: string[] }[] = [];
  let block: string | undefined;
  for (const line of text.split("\n")) {
    const words = line
      .replace(/\/\/.*/, "")
      .split(/[\s]+/)
      .filter((word) => word !== "");
    const [first = ""] = words;
    if (first === "") continue;
    if (first === ")") block = undefined;
    else if (block !== undefined) found.push({ verb: block, words });
    else if (words[1] === "(" || first.endsWith("(")) block = first.replace("(", "");
    else found.push({ verb: first, words: words.slice(1) });
  }
  return found;
}

/** The folder that holds every module that this one is built with: that of its go.work, or of the modules that it replaces. */
export function widenedByGo(look: Look, module: string, notes: Notes): string {
  for (const folder of foldersUp(look.root).slice(1)) {
    const uses = look.at(folder).read("go.work");
    if (uses === undefined) continue;
    const below = relativePath(folder, look.root);
    if (directives(uses).some(({ verb, words }) => verb === "use" && joinPath(".", words[0] ?? "") === below)) {
      notes.found(joinPath(folder, "go.work"), `uses ${below} together with other modules; the plan's root is its folder`);
      return folder;
    }
  }
  const outside = directives(module).filter(({ verb, words }) => verb === "replace" && words.at(-1)?.startsWith("../") === true);
  const targets = outside.map(({ words }) => joinPath(look.root, words.at(-1) ?? "")).filter((path) => !path.startsWith(".."));
  const root =
    foldersUp(look.root).find((folder) =>
      targets.every((target) => folder === "." || target === folder || target.startsWith(`${folder}/`)),
    ) ?? look.root;
  if (root !== look.root) notes.found(look.label("go.mod"), `replaces modules by folders outside ${look.root}; the plan's root is ${root}`);
  return root;
}

function goVersion(look: Look, module: string, notes: Notes): { wanted: string; why: string } {
  const said: VersionSaid[] = [];
  const go = /^go[ \t]+(\d+(?:\.\d+)*)/m.exec(module)?.[1];
  if (go !== undefined)
    said.push({
      file: look.label("go.mod"),
      says: go,
      wanted: `>=${go.split(".").slice(0, 3).concat(["0", "0"]).slice(0, 3).map(Number).join(".")}`,
    });
  said.push(...saidBySwitchers(look, ["golang", "go"], "minor", notes));
  const pinned = look.read(".go-version")?.trim();
  if (pinned !== undefined && pinned !== "")
    said.push({ file: look.label(".go-version"), says: pinned.slice(0, 100), wanted: rangeOfPin(pinned, "minor") });
  return chooseVersion("go", said, notes);
}
