// What of a Dockerfile Buildah is given, and how it is written for it. Its older versions trust what a mount names: the id of a cache may lead out of the
// folder of caches, and a bind mount through a link out of the context. So mounts are read here and written anew, and what is not understood is refused.
import { createHash } from "node:crypto";
import { optionsOf, stagesOf, type Instruction, type Instructions } from "../../core/buildplan/instructions.ts";
import { fieldsOf, triggered, type Need } from "../../core/buildplan/needs.ts";

/** Options of each kind of mount. A value may have no sign that anybody could put in or read twice. */
const mounts: Readonly<Record<string, ReadonlySet<string>>> = {
  secret: new Set(["type", "id", "target", "dst", "destination", "required", "mode", "uid", "gid"]),
  cache: new Set(["type", "id", "target", "dst", "destination", "sharing", "mode", "uid", "gid", "ro", "readonly", "rw"]),
  tmpfs: new Set(["type", "target", "dst", "destination"]),
};
const options: Readonly<Record<string, ReadonlySet<string>>> = {
  FROM: new Set(["platform"]),
  RUN: new Set(["mount"]),
  COPY: new Set(["from", "chown", "chmod"]),
  ADD: new Set(["chown", "chmod"]),
};
const known: ReadonlySet<string> = new Set(
  "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split(" "),
);
/** Where images may be that are no registry's. */
const transport = /^(?:containers-storage|dir|docker-archive|docker-daemon|oci|oci-archive|ostree|sif|tarball|atomic|docker):/i;
const plain = /^[\w./@:+-]*$/;

/** The first thing that it does not understand or is not trusted with. */
export function needOfBuildah({ all }: Instructions): Need | undefined {
  for (const one of all.map(triggered)) {
    const { keyword, rest, line, heredoc } = one;
    if (heredoc) return { line, what: `${keyword} with a here-document (<<)` };
    for (const { name, value } of optionsOf(rest)) {
      const allowed = options[keyword];
      if (allowed !== undefined && !allowed.has(name)) return { line, what: `${keyword} --${name}` };
      if (keyword === "RUN" && !isMountKnown(value)) return { line, what: `RUN --${name}=${value.slice(0, 200)}` };
      if (name === "from" && transport.test(value)) return { line, what: `COPY --from=${value.slice(0, 200)}` };
    }
    if (keyword === "FROM" && transport.test(rest.replace(/^(?:--\S+\s+)*/, ""))) return { line, what: `FROM ${rest.slice(0, 200)}` };
  }
  return undefined;
}

/** The first word that is no instruction: Buildah says so only when it comes there, and without its line. */
export function unknownInstruction({ all }: Instructions): { readonly line: number; readonly word: string } | undefined {
  const found = all.find(({ keyword }) => !known.has(keyword));
  return found === undefined ? undefined : { line: found.line, word: found.keyword };
}

interface Written<I extends Instruction> {
  readonly text: string;
  readonly instructions: readonly I[];
}

/** The same file, its mounts as this builder understands them, and its stages' names in small letters, as others read them. Lines stay where they are. */
export function forBuildah<I extends Instruction>(script: Written<I>): Written<I> {
  const lines = script.text.split("\n");
  const names = new Set(stagesOf(script.instructions).flatMap(({ name }) => name ?? []));
  const instructions = script.instructions.map((one, index) => {
    let { rest } = one;
    const last = (script.instructions[index + 1]?.line ?? lines.length + 1) - 1;
    for (const [from, to] of changesOf(one, names)) {
      rest = rest.replace(from, () => to);
      const at = lines.findIndex((text, number) => number >= one.line - 1 && number < last && text.includes(from));
      if (at >= 0) lines[at] = (lines[at] ?? "").replace(from, () => to);
    }
    return { ...one, rest };
  });
  return { text: lines.join("\n"), instructions };
}

function changesOf(one: Instruction, names: ReadonlySet<string>): (readonly [from: string, to: string])[] {
  const { keyword, rest } = triggered(one);
  if (keyword === "FROM") {
    const image = /^(?:--\S+\s+)*(\S+)/.exec(rest)?.[1] ?? "";
    const named = /\sAS\s+\S+$/i.exec(rest)?.[0] ?? "";
    return [...(names.has(image.toLowerCase()) ? [image] : []), named].map((text) => [text, text.toLowerCase()]);
  }
  return optionsOf(rest).flatMap(({ name, value }): [string, string][] => {
    if (name === "mount" && keyword === "RUN" && isMountKnown(value)) return [[`--mount=${value}`, `--mount=${rewritten(value)}`]];
    return name === "from" && names.has(value.toLowerCase()) ? [[`--from=${value}`, `--from=${value.toLowerCase()}`]] : [];
  });
}

function isMountKnown(value: string): boolean {
  const fields = fieldsOf(value);
  const allowed = mounts[fields.get("type") ?? ""];
  return allowed !== undefined && [...fields].every(([name, given]) => allowed.has(name) && plain.test(given));
}

function rewritten(value: string): string {
  const fields = fieldsOf(value);
  const target = fields.get("target") ?? fields.get("dst") ?? fields.get("destination");
  // Whatever it says, the name of a folder is what comes of it.
  if (fields.get("type") === "cache")
    fields.set(
      "id",
      createHash("sha256")
        .update(fields.get("id") ?? target ?? "")
        .digest("hex")
        .slice(0, 24),
    );
  return [...fields]
    .map(([name, given]) => {
      // Its readers take no word that stands alone.
      if (name === "required") return `required=${/^(?:true|1)?$/.test(given) ? "true" : "false"}`;
      return given === "" ? name : `${name}=${given}`;
    })
    .join(",");
}
