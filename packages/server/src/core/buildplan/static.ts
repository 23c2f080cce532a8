// Static sites: a folder with an index.html and nothing to build or start; the engine's own file server serves it.
import { exec, takeNotes, type Draft } from "./draft.ts";
import type { Look } from "./source.ts";

const folders = [".", "public", "dist", "site", "www", "html", "htdocs", "_site", "build", "out", "docs"];

export function detectStatic(look: Look): Draft | undefined {
  const named =
    look.read("Staticfile") === undefined
      ? undefined
      : /^[ \t]*root:[ \t]*["']?([\w./-]{1,200})/m.exec(look.read("Staticfile") ?? "")?.[1]?.replace(/^\.?\/+|\/+$/g, "");
  const dir = [...(named === undefined || named === "" || named.includes("..") ? [] : [named]), ...folders].find((folder) =>
    look.has(folder === "." ? "index.html" : `${folder}/index.html`),
  );
  if (dir === undefined) return undefined;
  const notes = takeNotes();
  const index = dir === "." ? "index.html" : `${dir}/index.html`;
  const fallback = ["_redirects", "Staticfile"]
    .map((name) => [name, look.read(dir === "." ? name : `${dir}/${name}`) ?? look.read(name) ?? ""] as const)
    .find(([, text]) => /^[ \t]*\/\*[ \t]+\/(?:index\.html)?[ \t]+200/m.test(text) || /^[ \t]*pushstate:[ \t]*enabled/m.test(text));
  notes.found(look.label(index), "a static site: its files are served as they are");
  if (fallback !== undefined) notes.found(look.label(fallback[0]), "sends unknown paths to index.html");
  const spa = fallback !== undefined;
  return {
    kind: "static",
    root: look.root,
    strength: "file",
    tools: [],
    steps: [],
    processes: { web: { command: exec("berth-static", ...(spa ? ["--spa"] : []), dir), why: index } },
    env: {},
    caches: [],
    exclude: [],
    staticSite: { dir, spa },
    notes,
  };
}
