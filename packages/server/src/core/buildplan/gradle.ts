// Gradle projects: which tasks make something to run, and how that is started. Build scripts are programs; only what patterns can tell is taken.
import type { BuildTool } from "@berth/contract/buildplan.ts";
import type { Command } from "@berth/contract/spec.ts";
import { inFolder, shellWord } from "./command.ts";
import { bindHost, exec, shell, step, takeNotes, type Draft, type Notes, type Processes } from "./draft.ts";
import { atLeast, javaTool } from "./javaversion.ts";
import { rangeOfPin } from "./ranges.ts";
import { baseOf, foldersUp, joinPath, relativePath, type Look } from "./source.ts";
import { withoutComments } from "./text.ts";
import type { VersionSaid } from "./versions.ts";

const buildFiles = ["build.gradle", "build.gradle.kts"];
const settingsFiles = ["settings.gradle", "settings.gradle.kts"];

export function detectGradle(look: Look): Draft | undefined {
  const file = [...buildFiles, ...settingsFiles].find((name) => look.has(name));
  if (file === undefined) return undefined;
  const notes = takeNotes();
  notes.found(look.label(file), "a Gradle project");
  const root = settingsRoot(look, notes);
  const top = look.at(root);
  const folder = relativePath(root, look.root);
  const own = programIn(look, folder);
  const programs =
    own !== undefined
      ? [own]
      : includedFolders(look)
          .map((below) => programIn(look.at(joinPath(look.root, below)), joinPath(folder, below)))
          .filter((program) => program !== undefined);
  const [first] = programs;
  if (first === undefined) notes.warn("not_runnable", { file: look.label(file), reason: "no plugin makes something to start" });
  if (programs.length > 1) notes.warn("several_programs", { programs: programs.map((program) => program.folder).join(", ") });
  for (const program of programs) notes.found(joinPath(root, joinPath(program.folder, program.file)), program.why);
  const processes = programs.map((program): [string, Processes[string]] => [
    programs.length === 1 ? "web" : baseOf(program.folder),
    { command: inFolder(program.folder, program.command), why: program.why },
  ]);
  const wrapper = top.has("gradlew");
  if (wrapper) notes.found(top.label("gradlew"), "the project brings its own Gradle");
  const tasks =
    programs.length === 0
      ? ["assemble"]
      : programs.map((program) => (program.folder === "." ? program.task : `:${program.folder.replaceAll("/", ":")}:${program.task}`));
  const gather = programs
    .filter((program) => program.gather)
    .map(
      (program) =>
        `rm -rf ${at(program.folder, ".berth/app")} && mkdir -p ${at(program.folder, ".berth")} && cp -R ${at(program.folder, "build/install/*")} ${at(program.folder, ".berth/app")}`,
    );
  const words = [...(wrapper ? ["sh", "./gradlew"] : ["gradle"]), "--no-daemon", "--console=plain", ...tasks];
  const build = gather.length === 0 ? exec(...words) : shell([words.join(" "), ...gather].join(" && "));
  return {
    kind: "java",
    flavour: first?.flavour ?? "gradle",
    root,
    strength: "manifest",
    tools: [
      javaTool(look, gradleVersions(look), notes),
      ...(wrapper ? [] : [{ name: "gradle", wanted: "*", why: file, phase: "build" } satisfies BuildTool]),
    ],
    steps: [step("build", build, wrapper ? "gradlew" : file, true)],
    processes: Object.fromEntries(processes),
    env: {},
    caches: [{ name: "gradle", env: { GRADLE_USER_HOME: "$CACHE" } }],
    exclude: [".gradle"],
    notes,
  };
}

/** A path for a shell line; `*` at its end stays a pattern. */
function at(folder: string, path: string): string {
  const whole = joinPath(folder, path);
  return whole.endsWith("/*") ? `${shellWord(whole.slice(0, -2))}/*` : shellWord(whole);
}

interface Program {
  readonly folder: string;
  readonly file: string;
  readonly flavour: string;
  readonly task: string;
  readonly command: Command;
  readonly why: string;
  /** `installDist` names its folder after the project: it is moved to a known place. */ readonly gather: boolean;
}

function programIn(look: Look, folder: string): Program | undefined {
  const file = buildFiles.find((name) => look.has(name));
  if (file === undefined) return undefined;
  const text = withoutComments(look.read(file) ?? "");
  const plugin = (id: string, alias = id): boolean =>
    new RegExp(`["'\`]${id.replaceAll(".", "\\.")}["'\`]|libs\\.plugins\\.(?:\\w{1,60}\\.){0,4}${alias.replaceAll(".", "\\.")}\\b`).test(
      text,
    );
  const jar = (flavour: string, task: string, pattern: string, options: string, why: string): Program => ({
    folder,
    file,
    flavour,
    task,
    gather: false,
    why,
    command: shell(`exec java $JAVA_OPTS ${options === "" ? "" : `${options} `}-jar ${pattern}`),
  });
  if (plugin("io.quarkus", "quarkus"))
    return jar(
      "quarkus",
      "quarkusBuild",
      "build/quarkus-app/quarkus-run.jar",
      `-Dquarkus.http.host=${bindHost} -Dquarkus.http.port=$PORT`,
      "the plugin io.quarkus",
    );
  if (plugin("org.springframework.boot", "spring.boot") || plugin("org.springframework.boot", "springboot"))
    return jar("spring-boot", "bootJar", "build/libs/*.jar", "-Dserver.port=$PORT", "the Spring Boot plugin makes a runnable jar");
  if (plugin("io.ktor.plugin", "ktor"))
    return jar("ktor", "buildFatJar", "build/libs/*-all.jar", "", "the Ktor plugin makes a runnable jar");
  if (plugin("com.github.johnrengelman.shadow", "shadow") || plugin("com.gradleup.shadow", "shadow"))
    return jar("gradle", "shadowJar", "build/libs/*-all.jar", "", "the Shadow plugin makes a runnable jar");
  const micronaut = plugin("io.micronaut.application", "micronaut.application");
  if (
    micronaut ||
    plugin("application") ||
    /^[ \t]*application[ \t]*\r?$/m.test(text) ||
    /\bid(?:[ \t]*\()?[ \t]*["']application["']/.test(text)
  ) {
    const main = /\bmainClass(?:Name)?(?:\.set\(|[ \t]*=|[ \t])[ \t]*["']([\w.$]{1,200})["']/.exec(text)?.[1];
    const options = micronaut ? "-Dmicronaut.server.port=$PORT " : "";
    const command =
      main === undefined
        ? shell("exec \"$(ls .berth/app/bin/* | grep -v '\\.bat$' | head -n 1)\"")
        : shell(`exec java $JAVA_OPTS ${options}-cp '.berth/app/lib/*' ${shellWord(main)}`);
    return {
      folder,
      file,
      flavour: micronaut ? "micronaut" : "gradle",
      task: "installDist",
      gather: true,
      command,
      why: "the plugin application installs programs",
    };
  }
  if (/Main-Class/.test(text)) return jar("gradle", "jar", "build/libs/*.jar", "", "the jar's manifest names a main class");
  return undefined;
}

/** Folders of the projects that the settings include; `:a:b` lies in `a/b`. */
function includedFolders(look: Look): string[] {
  const settings = settingsFiles.map((name) => look.read(name)).find((text) => text !== undefined) ?? "";
  const lists: string[] = [];
  let goesOn = false;
  for (const line of settings.split("\n").map((item) => item.trim())) {
    if (goesOn || /^include\b/.test(line)) lists.push(line);
    goesOn = (goesOn || /^include\b/.test(line)) && /[,(]$/.test(line);
  }
  return lists
    .flatMap((list) => [...list.matchAll(/["']:?([\w.:/-]+)["']/g)].map((match) => (match[1] ?? "").replaceAll(":", "/")))
    .filter((folder) => !joinPath(".", folder).startsWith(".."))
    .slice(0, 200);
}

/** The folder whose settings include this one; this one when there is none. */
export function settingsRoot(look: Look, notes: Notes): string {
  for (const folder of foldersUp(look.root).slice(1)) {
    const below = relativePath(folder, look.root);
    if (!includedFolders(look.at(folder)).includes(below)) continue;
    notes.found(
      joinPath(folder, settingsFiles.find((name) => look.at(folder).has(name)) ?? "settings.gradle"),
      `includes ${below}; the plan's root is its folder`,
    );
    return folder;
  }
  return look.root;
}

function gradleVersions(look: Look): VersionSaid[] {
  for (const folder of foldersUp(look.root)) {
    const here = look.at(folder);
    const file = buildFiles.find((name) => here.has(name));
    const text = file === undefined ? "" : (here.read(file) ?? "");
    const toolchain = /JavaLanguageVersion\.of\([ \t]*["']?(\d+)/.exec(text)?.[1] ?? /\bjvmToolchain\([ \t]*(\d+)/.exec(text)?.[1];
    if (toolchain !== undefined) return [{ file: joinPath(folder, file ?? ""), says: toolchain, wanted: rangeOfPin(toolchain, "major") }];
    const compatible = /\b(?:sourceCompatibility|targetCompatibility|options\.release)\b[^\n\d]{0,60}?(\d+(?:[._]\d+)?)/.exec(text)?.[1];
    if (compatible !== undefined)
      return [{ file: joinPath(folder, file ?? ""), says: compatible.replace("_", "."), wanted: atLeast(compatible.replace("_", ".")) }];
  }
  return [];
}
