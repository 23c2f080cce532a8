// Java with Maven, or a jar that is already built; Gradle has a file of its own. Jars are run where the build leaves them.
import type { BuildTool } from "@berth/contract/buildplan.ts";
import type { Command } from "@berth/contract/spec.ts";
import { inFolder, shellWord } from "./command.ts";
import { bindHost, brokenManifest, exec, shell, step, takeNotes, type Broken, type Draft, type Notes, type Processes } from "./draft.ts";
import { detectGradle } from "./gradle.ts";
import { atLeast, javaTool } from "./javaversion.ts";
import { readPom, type Pom } from "./pom.ts";
import { foldersUp, joinPath, relativePath, type Look } from "./source.ts";
import type { VersionSaid } from "./versions.ts";

export function detectJava(look: Look): Draft | Broken | undefined {
  if (look.has("pom.xml")) return detectMaven(look);
  return detectGradle(look) ?? detectJar(look);
}

function detectMaven(look: Look): Draft | Broken {
  const read = readPom(look);
  if (read === undefined || !read.ok) return brokenManifest(look, "pom.xml", read?.reason ?? "it is gone");
  const notes = takeNotes();
  notes.found(look.label("pom.xml"), `a Maven project${read.value.artifactId === undefined ? "" : ` named ${read.value.artifactId}`}`);
  const root = aggregatorOf(look, notes);
  const top = look.at(root);
  const inherited = inheritedPlugins(look, root);
  const own = { folder: relativePath(root, look.root), pom: read.value };
  const modules = read.value.packaging === "pom" ? runnableModules(look, read.value, notes) : [own];
  const started = modules.flatMap((module) => {
    const command = startOf(module.pom, inherited);
    return command === undefined ? [] : [{ ...module, ...command }];
  });
  const [first] = started;
  if (first === undefined)
    notes.warn("not_runnable", {
      file: look.label("pom.xml"),
      reason:
        read.value.packaging === "war" ? "a war needs a servlet container" : "no plugin makes a runnable jar, and no main class is named",
    });
  if (started.length > 1) notes.warn("several_programs", { programs: started.map(({ folder }) => folder).join(", ") });
  const processes: [string, Processes[string]][] =
    started.length === 1 && first !== undefined
      ? [["web", processOf(first)]]
      : started
          .filter(({ folder }) => nameable(folder))
          .map((item) => [item.folder.slice(item.folder.lastIndexOf("/") + 1), processOf(item)]);
  const wrapper = top.has("mvnw");
  const select = own.folder === "." ? [] : ["-pl", own.folder, "-am"];
  const goals = started.some(({ copiesDependencies }) => copiesDependencies)
    ? ["package", "dependency:copy-dependencies", "-DincludeScope=runtime"]
    : ["package"];
  if (wrapper) notes.found(top.label("mvnw"), "the project brings its own Maven");
  return {
    kind: "java",
    flavour: first?.flavour ?? "maven",
    root,
    strength: "manifest",
    tools: [
      javaTool(look, mavenVersions(look, read.value), notes),
      ...(wrapper ? [] : [{ name: "maven", wanted: "*", why: "pom.xml", phase: "build" } satisfies BuildTool]),
    ],
    steps: [
      step(
        "build",
        exec(...(wrapper ? ["sh", "./mvnw"] : ["mvn"]), "-B", "-ntp", "-DskipTests", ...select, ...goals),
        wrapper ? "mvnw" : "pom.xml",
        true,
      ),
    ],
    processes: Object.fromEntries(processes),
    env: {},
    caches: [{ name: "maven", env: { MAVEN_OPTS: "-Dmaven.repo.local=$CACHE/repository", MAVEN_USER_HOME: "$CACHE/home" } }],
    exclude: [],
    notes,
  };
}

interface Start {
  readonly command: Command;
  readonly why: string;
  readonly flavour: string;
  readonly copiesDependencies: boolean;
}

function processOf(item: Start & { readonly folder: string }): Processes[string] {
  return { command: inFolder(item.folder, item.command), why: item.why };
}

function nameable(folder: string): boolean {
  return /(?:^|\/)[A-Za-z0-9-]{1,63}$/.test(folder);
}

function startOf(pom: Pom, inherited: ReadonlySet<string>): Start | undefined {
  const plugin = (id: string): boolean => pom.plugins.has(id) || inherited.has(id);
  const uses = (group: string): boolean => [...pom.dependencies].some((item) => item.startsWith(group));
  const archive = pom.packaging === "war" ? "war" : "jar";
  const jar = (suffix = ""): string =>
    pom.finalName === undefined
      ? `"$(ls target/*${suffix}.${archive} | grep -Ev -- '-(sources|javadoc|tests)\\.jar$|/original-' | head -n 1)"`
      : shellWord(`target/${pom.finalName}${suffix}.${archive}`);
  if (plugin("quarkus-maven-plugin")) {
    const uber = pom.properties.get("quarkus.package.type") === "uber-jar" || pom.properties.get("quarkus.package.jar.type") === "uber-jar";
    return {
      ...javaStart(
        "quarkus",
        uber ? jar("-runner") : "target/quarkus-app/quarkus-run.jar",
        `-Dquarkus.http.host=${bindHost} -Dquarkus.http.port=$PORT`,
      ),
      why: "quarkus-maven-plugin",
    };
  }
  if (plugin("spring-boot-maven-plugin"))
    return { ...javaStart("spring-boot", jar(), "-Dserver.port=$PORT"), why: "spring-boot-maven-plugin makes a runnable jar" };
  if (pom.packaging !== "jar") return undefined;
  const micronaut = uses("io.micronaut:") || plugin("micronaut-maven-plugin");
  const options = micronaut ? "-Dmicronaut.server.port=$PORT" : "";
  const flavour = micronaut ? "micronaut" : "maven";
  if (plugin("maven-shade-plugin")) return { ...javaStart(flavour, jar(), options), why: "maven-shade-plugin makes a runnable jar" };
  if (plugin("maven-assembly-plugin"))
    return { ...javaStart(flavour, jar("-jar-with-dependencies"), options), why: "maven-assembly-plugin makes a runnable jar" };
  if (pom.mainClass === undefined) return undefined;
  const copies = pom.dependencies.size > 1;
  const path = copies ? "target/classes:target/dependency/*" : "target/classes";
  return {
    flavour,
    copiesDependencies: copies,
    why: `pom.xml names the main class ${pom.mainClass}`,
    command: shell(`exec java $JAVA_OPTS ${options === "" ? "" : `${options} `}-cp '${path}' ${shellWord(pom.mainClass)}`),
  };
}

function javaStart(flavour: string, jar: string, options: string): Omit<Start, "why"> {
  return { flavour, copiesDependencies: false, command: shell(`exec java $JAVA_OPTS ${options === "" ? "" : `${options} `}-jar ${jar}`) };
}

/** The highest folder whose modules lead here: a module may need its siblings. */
export function aggregatorOf(look: Look, notes: Notes): string {
  let root = look.root;
  for (const folder of foldersUp(look.root).slice(1)) {
    const above = readPom(look.at(folder));
    const below = relativePath(folder, root);
    if (above === undefined || !above.ok || !above.value.modules.some((module) => joinPath(".", module) === below)) continue;
    notes.found(joinPath(folder, "pom.xml"), `has ${below} as a module; the plan's root is its folder`);
    root = folder;
  }
  return root;
}

function inheritedPlugins(look: Look, root: string): ReadonlySet<string> {
  const plugins = foldersUp(look.root)
    .filter((folder) => root === "." || folder === root || folder.startsWith(`${root}/`))
    .flatMap((folder) => {
      const pom = readPom(look.at(folder));
      return pom !== undefined && pom.ok ? [...pom.value.plugins] : [];
    });
  return new Set(plugins);
}

/** The modules of an aggregator that make something to run; plugins that the aggregator gives to all are not enough to tell. */
function runnableModules(look: Look, pom: Pom, notes: Notes): { folder: string; pom: Pom }[] {
  return pom.modules.slice(0, 200).flatMap((module) => {
    const folder = joinPath(".", module);
    const read = folder.startsWith("..") ? undefined : readPom(look.at(joinPath(look.root, folder)));
    if (read !== undefined && !read.ok)
      notes.warn("file_unreadable", { file: look.label(joinPath(folder, "pom.xml")), reason: read.reason });
    if (read === undefined || !read.ok || startOf(read.value, new Set()) === undefined) return [];
    notes.found(look.label(joinPath(folder, "pom.xml")), "a module that can be started");
    return [{ folder, pom: read.value }];
  });
}

function mavenVersions(look: Look, pom: Pom): VersionSaid[] {
  const upper = foldersUp(look.root)
    .slice(1)
    .map((folder) => readPom(look.at(folder)))
    .filter((read) => read !== undefined)
    .filter((read) => read.ok)
    .map((read) => read.value);
  const says = [pom, ...upper]
    .map(
      (item) =>
        ["maven.compiler.release", "java.version", "maven.compiler.target", "maven.compiler.source"]
          .map((key) => item.properties.get(key))
          .find((value) => value !== undefined && !value.includes("${")) ??
        (item.release?.includes("${") === true ? undefined : item.release),
    )
    .find((value) => value !== undefined);
  return says === undefined ? [] : [{ file: look.label("pom.xml"), says, wanted: atLeast(says) }];
}

/** One jar at the top and nothing to build it from. */
function detectJar(look: Look): Draft | undefined {
  const jars = look.files.filter((file) => /^[^/]+\.jar$/.test(file) && !/-(?:sources|javadoc)\.jar$/.test(file));
  const [jar] = jars;
  if (jar === undefined) return undefined;
  const notes = takeNotes();
  notes.found(look.label(jar), "a jar that is already built");
  if (jars.length > 1) notes.warn("several_programs", { programs: jars.join(", ") });
  const processes: Processes = jars.length > 1 ? {} : { web: { command: shell(`exec java $JAVA_OPTS -jar ${shellWord(jar)}`), why: jar } };
  return {
    kind: "java",
    flavour: "jar",
    root: look.root,
    strength: "file",
    tools: [{ ...javaTool(look, [], notes), phase: "run" }],
    steps: [],
    processes,
    env: {},
    caches: [],
    exclude: [],
    notes,
  };
}
