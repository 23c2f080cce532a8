// What a Dockerfile asks of its builder beyond what the oldest ones know. Pure. https://docs.docker.com/reference/dockerfile/
import { optionsOf, type Instruction, type Instructions } from "./instructions.ts";

/** Something that only BuildKit understands. */
export interface Need {
  readonly line: number;
  /** As it is written: `RUN --mount`, `COPY --link`, a here-document, `# syntax=`. */
  readonly what: string;
}

export interface SecretMount {
  readonly id: string;
  readonly line: number;
  /** Without it the step fails; else it runs without the secret. */
  readonly required: boolean;
}

/** Options that came with BuildKit, by instruction. */
const newOptions: Readonly<Record<string, ReadonlySet<string>>> = {
  RUN: new Set(["mount", "network", "security", "device"]),
  COPY: new Set(["link", "chmod", "parents", "exclude"]),
  ADD: new Set(["link", "chmod", "checksum", "keep-git-dir", "unpack", "exclude"]),
};

/** Everything of it, in the order of the file. */
export function needsOf({ directives, all }: Instructions): Need[] {
  const syntax = directives.get("syntax");
  return [
    ...(syntax === undefined ? [] : [{ line: syntax.line, what: `# syntax=${syntax.value}` }]),
    ...all.map(triggered).flatMap(({ keyword, rest, line, heredoc }): Need[] => [
      ...optionsOf(rest)
        .filter(({ name }) => newOptions[keyword]?.has(name) === true)
        .map(({ name }) => ({ line, what: `${keyword} --${name}` })),
      ...(heredoc ? [{ line, what: `${keyword} with a here-document (<<)` }] : []),
    ]),
  ];
}

/** The build secrets that steps ask for, each once; `required` when one of them cannot do without. */
export function secretsOf(all: readonly Instruction[]): SecretMount[] {
  const found = new Map<string, SecretMount>();
  for (const { line, fields } of mountsOf(all)) {
    if (fields.get("type") !== "secret") continue;
    const id = fields.get("id") ?? (fields.get("target") ?? fields.get("dst") ?? fields.get("destination") ?? "").split("/").at(-1) ?? "";
    const required = /^(?:true|1)?$/.test(fields.get("required") ?? "false");
    const known = found.get(id);
    if (id !== "" && (known === undefined || (required && !known.required))) found.set(id, { id, line, required });
  }
  return [...found.values()];
}

/** The first line that asks for the ssh agent of whoever builds, which a platform has none of. */
export function sshLine(all: readonly Instruction[]): number | undefined {
  return mountsOf(all).find(({ fields }) => fields.get("type") === "ssh")?.line;
}

function mountsOf(all: readonly Instruction[]): { readonly line: number; readonly fields: ReadonlyMap<string, string> }[] {
  return all.map(triggered).flatMap(({ keyword, rest, line }) =>
    keyword === "RUN"
      ? optionsOf(rest)
          .filter(({ name }) => name === "mount")
          .map(({ value }) => ({ line, fields: fieldsOf(value) }))
      : [],
  );
}

/** `type=secret,id=token,required`. */
export function fieldsOf(mount: string): Map<string, string> {
  return new Map(
    mount.split(",").map((field): [string, string] => {
      const cut = field.indexOf("=");
      return cut < 0 ? [field.toLowerCase(), ""] : [field.slice(0, cut).toLowerCase(), field.slice(cut + 1)];
    }),
  );
}

/** What an ONBUILD leaves for others to run is asked of the builder too. */
export function triggered(one: Instruction): Instruction {
  const match = one.keyword === "ONBUILD" ? /^([A-Za-z]+)\s+(.*)$/.exec(one.rest) : null;
  return match === null ? one : { ...one, keyword: (match[1] ?? "").toUpperCase(), rest: match[2] ?? "" };
}
