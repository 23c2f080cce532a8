// Rust: a release build, its binaries copied to `.berth/bin`; members of a Cargo workspace are built from the workspace's folder.
import type { BuildStep } from "@berth/contract/buildplan.ts";
import { inFolder, shellWord } from "./command.ts";
import { bindHost, brokenManifest, exec, shell, step, takeNotes, type Broken, type Draft, type Notes, type Processes } from "./draft.ts";
import { matchesGlobs } from "./globs.ts";
import { rangeOfPin } from "./ranges.ts";
import {
  baseOf,
  dig,
  digList,
  digText,
  foldersUp,
  isFields,
  joinPath,
  nearest,
  parentOf,
  readToml,
  relativePath,
  type Fields,
  type Look,
} from "./source.ts";
import { chooseVersion, saidBySwitchers, type VersionSaid } from "./versions.ts";

const flavours = ["axum", "actix-web", "rocket", "warp", "poem", "salvo", "tide"];

export function detectRust(look: Look): Draft | Broken | undefined {
  const parsed = readToml(look, "Cargo.toml");
  if (parsed === undefined) return undefined;
  if (!parsed.ok) return brokenManifest(look, "Cargo.toml", parsed.reason);
  const notes = takeNotes();
  const table = parsed.value;
  const root = workspaceRoot(look, notes);
  const top = look.at(root);
  const folder = relativePath(root, look.root);
  const crates = cratesOf(look, table, notes);
  const programs = crates.flatMap((crate) => crate.binaries.map((binary) => ({ crate, binary })));
  notes.found(
    look.label("Cargo.toml"),
    programs.length === 0
      ? "a Rust package without a program"
      : `a Rust package with the program${programs.length === 1 ? "" : "s"} ${programs.map(({ binary }) => binary).join(", ")}`,
  );
  const flavour = flavours.find((name) => crates.some((crate) => dig(crate.table, "dependencies", name) !== undefined));
  const processes = processTypes(
    programs.map(({ binary }) => binary),
    crates[0]?.name,
    notes,
  ).map(([type, binary]): [string, Processes[string]] => {
    const path = joinPath(relativePath(look.root, root), `.berth/bin/${binary}`);
    const command = flavour === "rocket" ? shell(`exec env ROCKET_ADDRESS=${bindHost} ROCKET_PORT=$PORT ${shellWord(path)}`) : exec(path);
    return [type, { command: inFolder(folder, command), why: `the program ${binary}` }];
  });
  return {
    kind: "rust",
    flavour,
    root,
    strength: "manifest",
    tools: [{ name: "rust", ...rustVersion(look, table, notes), phase: "build" }],
    steps:
      programs.length === 0
        ? []
        : [
            buildStep(
              top,
              crates,
              programs.map(({ binary }) => binary),
              needsNetwork(look, table),
            ),
          ],
    processes: Object.fromEntries(processes),
    env: {},
    caches: [{ name: "cargo", env: { CARGO_HOME: "$CACHE/home", CARGO_TARGET_DIR: "$CACHE/target" } }],
    exclude: ["target"],
    notes,
  };
}

interface Crate {
  readonly name: string;
  readonly table: Fields;
  readonly binaries: readonly string[];
}

/** The package itself, or every member of a workspace that has no package of its own. */
function cratesOf(look: Look, table: Fields, notes: Notes): Crate[] {
  const own = crateOf(look, table);
  if (own !== undefined) return [own];
  const globs = digList(table, "workspace", "members");
  return look.files
    .filter((file) => baseOf(file) === "Cargo.toml" && file !== "Cargo.toml" && matchesGlobs(parentOf(file), globs))
    .flatMap((file) => {
      const parsed = readToml(look, file);
      if (parsed !== undefined && !parsed.ok) notes.warn("file_unreadable", { file: look.label(file), reason: parsed.reason });
      const crate = parsed !== undefined && parsed.ok ? crateOf(look.at(joinPath(look.root, parentOf(file))), parsed.value) : undefined;
      return crate === undefined ? [] : [crate];
    });
}

/** Declared programs, `src/main.rs`, and `src/bin/*.rs`, as Cargo finds them. */
function crateOf(look: Look, table: Fields): Crate | undefined {
  const name = digText(table, "package", "name");
  if (name === undefined) return undefined;
  const declared = dig(table, "bin");
  const binaries = new Set(
    Array.isArray(declared) ? declared.map((item) => digText(item, "name")).filter((item) => item !== undefined) : [],
  );
  const paths = Array.isArray(declared) ? declared.map((item) => digText(item, "path")) : [];
  if (look.has("src/main.rs") && !paths.includes("src/main.rs")) binaries.add(name);
  for (const file of look.files) {
    const found = /^src\/bin\/([^/]+?)(?:\.rs|\/main\.rs)$/.exec(file)?.[1];
    if (found !== undefined && !paths.includes(file)) binaries.add(found);
  }
  return { name, table, binaries: [...binaries].filter((item) => /^[\w-]{1,64}$/.test(item)) };
}

function processTypes(binaries: readonly string[], packageName: string | undefined, notes: Notes): [string, string][] {
  const [only] = binaries;
  if (only === undefined) return [];
  if (binaries.length === 1) return [["web", only]];
  const web = ["web", "server", "api", packageName].find((name) => name !== undefined && binaries.includes(name));
  if (web === undefined) notes.warn("several_programs", { programs: binaries.join(", ") });
  return [
    ...(web === undefined || web === "web" ? [] : [["web", web] as [string, string]]),
    ...binaries.filter((name) => name !== "__proto__").map((name): [string, string] => [name, name]),
  ];
}

function buildStep(top: Look, crates: readonly Crate[], binaries: readonly string[], network: boolean): BuildStep {
  const packages = crates.flatMap((crate) => ["--package", crate.name]).map(shellWord);
  const build = ["cargo", "build", "--release", ...(top.has("Cargo.lock") ? ["--locked"] : []), ...packages].join(" ");
  const copies = binaries.map((binary) => `"\${CARGO_TARGET_DIR:-target}/release/${binary}"`).join(" ");
  return step("build", shell(`${build} && mkdir -p .berth/bin && cp ${copies} .berth/bin/`), "Cargo.toml", network);
}

function needsNetwork(look: Look, table: Fields): boolean {
  const tables = [
    dig(table, "dependencies"),
    dig(table, "build-dependencies"),
    dig(table, "dev-dependencies"),
    dig(table, "workspace", "dependencies"),
    dig(table, "target"),
  ];
  const offline = look.files.some((file) => /^\.cargo\/config(?:\.toml)?$/.test(file) && /vendored-sources/.test(look.read(file) ?? ""));
  return !offline && (dig(table, "workspace") !== undefined || tables.some((item) => isFields(item) && Object.keys(item).length > 0));
}

/** The folder of the Cargo workspace that this one is a member of; this one when there is none. */
export function workspaceRoot(look: Look, notes: Notes): string {
  for (const folder of foldersUp(look.root).slice(1)) {
    const parsed = readToml(look.at(folder), "Cargo.toml");
    const members = parsed !== undefined && parsed.ok ? digList(parsed.value, "workspace", "members") : [];
    const below = relativePath(folder, look.root);
    if (!matchesGlobs(below, members)) continue;
    notes.found(joinPath(folder, "Cargo.toml"), `the workspace that ${below} belongs to; the plan's root is its folder`);
    return folder;
  }
  return look.root;
}

function rustVersion(look: Look, table: Fields, notes: Notes): { wanted: string; why: string } {
  const said: VersionSaid[] = [];
  const pinned = (file: string, channel: string): void => {
    said.push({ file, says: channel, wanted: /^(?:stable|beta|nightly)/.test(channel) ? "*" : rangeOfPin(channel, "minor") });
  };
  for (const folder of foldersUp(look.root)) {
    const parsed = readToml(look.at(folder), "rust-toolchain.toml");
    if (parsed !== undefined && !parsed.ok)
      notes.warn("file_unreadable", { file: joinPath(folder, "rust-toolchain.toml"), reason: parsed.reason });
    const channel = parsed !== undefined && parsed.ok ? digText(parsed.value, "toolchain", "channel") : undefined;
    if (channel !== undefined) pinned(joinPath(folder, "rust-toolchain.toml"), channel);
  }
  const old = nearest(look, "rust-toolchain");
  const channel = old === undefined ? undefined : (/channel\s*=\s*"([^"]+)"/.exec(old.text)?.[1] ?? old.text.trim().split("\n")[0]);
  if (old !== undefined && channel !== undefined && channel !== "") pinned(old.file, channel.slice(0, 100));
  said.push(...saidBySwitchers(look, ["rust"], "minor", notes));
  const minimum = digText(table, "package", "rust-version");
  if (minimum !== undefined)
    said.push({ file: look.label("Cargo.toml"), says: minimum, wanted: /^\d+(?:\.\d+){0,2}$/.test(minimum) ? `>=${minimum}` : undefined });
  return chooseVersion("rust", said, notes);
}
