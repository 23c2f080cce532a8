// Takes the few facts out of a pom.xml that a build plan needs. It is no XML parser: it follows tags and their text, nothing else, and never resolves entities.
import type { Look } from "./source.ts";
import { withoutBlocks } from "./text.ts";

export interface Pom {
  readonly artifactId: string | undefined;
  readonly packaging: string;
  /** Without `.jar`; undefined when it holds something that only Maven can fill in. */
  readonly finalName: string | undefined;
  readonly modules: readonly string[];
  readonly properties: ReadonlyMap<string, string>;
  /** Artifact ids of plugins that run, those of profiles left out. */
  readonly plugins: ReadonlySet<string>;
  /** `groupId:artifactId` of dependencies and of the parent. */
  readonly dependencies: ReadonlySet<string>;
  readonly mainClass: string | undefined;
  /** `<release>` of the compiler plugin. */
  readonly release: string | undefined;
}

type Texts = ReadonlyMap<string, readonly string[]>;

export type ReadPom = { readonly ok: true; readonly value: Pom } | { readonly ok: false; readonly reason: string };

export function readPom(look: Look, path = "pom.xml"): ReadPom | undefined {
  if (!look.has(path)) return undefined;
  const text = look.read(path);
  if (text === undefined) return { ok: false, reason: "it is larger than 256 KiB or not text" };
  const texts = textsOf(text);
  if (texts === undefined) return { ok: false, reason: "its tags do not close, or its top element is not <project>" };
  return { ok: true, value: pomOf(texts) };
}

function pomOf(texts: Texts): Pom {
  const one = (path: string): string | undefined => texts.get(path)?.[0];
  const properties = new Map(
    [...texts]
      .filter(([path]) => /^project\/properties\/[^/]+$/.test(path))
      .map(([path, values]) => [path.slice("project/properties/".length), values[0] ?? ""]),
  );
  const artifactId = one("project/artifactId");
  const version = one("project/version") ?? one("project/parent/version");
  const groups = texts.get("project/dependencies/dependency/groupId") ?? [];
  const dependencies = (texts.get("project/dependencies/dependency/artifactId") ?? []).map((id, index) => `${groups[index] ?? ""}:${id}`);
  const name =
    one("project/build/finalName") ??
    (artifactId === undefined || version === undefined ? undefined : "${project.artifactId}-${project.version}");
  const known = new Map([
    ...properties,
    ["project.artifactId", artifactId ?? "${"],
    ["project.version", version ?? "${"],
    ["project.name", one("project/name") ?? artifactId ?? "${"],
  ]);
  return {
    artifactId,
    properties,
    packaging: one("project/packaging") ?? "jar",
    finalName: name === undefined ? undefined : resolved(name, known),
    modules: texts.get("project/modules/module") ?? [],
    plugins: new Set(texts.get("project/build/plugins/plugin/artifactId") ?? []),
    dependencies: new Set([...dependencies, `${one("project/parent/groupId") ?? ""}:${one("project/parent/artifactId") ?? ""}`]),
    mainClass:
      resolved(
        [...texts].find(([path]) => /\/mainClass$/.test(path) && path.startsWith("project/build/plugins/"))?.[1][0] ??
          properties.get("exec.mainClass") ??
          properties.get("start-class") ??
          "",
        known,
      ) || undefined,
    release: [...texts].find(([path]) => path === "project/build/plugins/plugin/configuration/release")?.[1][0],
  };
}

/** Fills `${name}` from known properties; undefined when one stays open or the outcome is no plain name. */
export function resolved(text: string, properties: ReadonlyMap<string, string>): string | undefined {
  let value = text;
  for (let round = 0; round < 5 && value.includes("${"); round += 1)
    value = value.replaceAll(/\$\{([\w.-]+)\}/g, (hole, key: string) => properties.get(key) ?? hole).slice(0, 1000);
  return /^[\w.$+-]*$/.test(value) && !value.includes("${") ? value : undefined;
}

const deepest = 12;

/** The text of every element by its path of names; undefined when tags do not match. */
function textsOf(text: string): Texts | undefined {
  const found = new Map<string, string[]>();
  const path: string[] = [];
  let last = 0;
  let projects = 0;
  const plain = withoutBlocks(text, "<!--", "-->");
  for (const match of plain.matchAll(/<(\/?)([A-Za-z_][\w.:-]*)((?:\s[^<>]*)?)>/g)) {
    const [, closing = "", name = "", attributes = ""] = match;
    if (closing === "/") {
      if (path.at(-1) !== name) return undefined;
      const value = plain.slice(last, match.index).trim();
      if (path.length <= deepest && value !== "" && !value.includes("<")) {
        const key = path.join("/");
        const values = found.get(key) ?? [];
        values.push(value.slice(0, 500));
        found.set(key, values);
      }
      path.pop();
    } else if (!attributes.trimEnd().endsWith("/")) {
      if (path.length === 0 && name === "project") projects += 1;
      path.push(name);
    }
    last = match.index + match[0].length;
  }
  return path.length === 0 && projects === 1 ? found : undefined;
}
