// Reads a Dockerfile as its builders do: directives, then instructions over as many lines as they take. Executes and expands nothing; what cannot
// be understood is left to the builder's own words. Pure. https://docs.docker.com/reference/dockerfile/#format

export interface Instruction {
  /** In capitals: `RUN`, `FROM`; an `ONBUILD RUN` is an `ONBUILD`. */
  readonly keyword: string;
  /** What follows it, in one line, its options included; cut when it is longer than anybody writes. */
  readonly rest: string;
  /** Of its first line, from 1. */
  readonly line: number;
  /** Here-documents belong to it. */
  readonly heredoc: boolean;
}

export interface Instructions {
  /** `syntax`, `escape` and `check`, as far as they stand at the very top. */
  readonly directives: ReadonlyMap<string, { readonly value: string; readonly line: number }>;
  readonly all: readonly Instruction[];
}

const known: ReadonlySet<string> = new Set(["syntax", "escape", "check"]);

export function readInstructions(text: string): Instructions {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const directives = readDirectives(lines);
  const escape = directives.get("escape")?.value === "`" ? "`" : "\\";
  const lastAt = new Map(lines.map((line, index) => [line.trim(), index]));
  const all: Instruction[] = [];
  for (let i = 0; i < lines.length; i += 1) {
    if (isSkipped(lines[i])) continue;
    const from = i;
    const parts: string[] = [];
    for (; ; i += 1) {
      const line = (lines[i] ?? "").trim();
      // Comments and empty lines in the middle of an instruction end nothing.
      const skipped = i > from && isSkipped(line);
      const goesOn = skipped || line.endsWith(escape);
      if (!skipped) parts.push(goesOn ? line.slice(0, -1) : line);
      if (!goesOn || i + 1 >= lines.length) break;
    }
    const match = /^([A-Za-z]+)\s+(\S.*)$/.exec(parts.join(" "));
    if (match === null) continue;
    const [, word = "", whole = ""] = match;
    const keyword = word.toUpperCase();
    const marks = mayHaveDocuments(keyword, whole) ? documentMarks(whole) : [];
    let heredoc = false;
    for (const mark of marks) {
      if ((lastAt.get(mark) ?? -1) <= i) break;
      heredoc = true;
      for (i += 1; (lines[i] ?? "").trim() !== mark;) i += 1;
    }
    all.push({ keyword, rest: whole.trim().slice(0, 64 * 1024), line: from + 1, heredoc });
  }
  return { directives, all };
}

/** The instruction in one line, for people: at most `longest` characters. */
export function showInstruction({ keyword, rest }: Instruction, longest = 200): string {
  const text = `${keyword} ${rest.replaceAll(/\s+/g, " ")}`;
  return text.length > longest ? `${text.slice(0, longest - 3)}...` : text;
}

/** Options before the first word, as in `--mount=type=cache,target=/x`: name and value, the latter empty when there is none. */
export function optionsOf(rest: string): { readonly name: string; readonly value: string }[] {
  const options: { readonly name: string; readonly value: string }[] = [];
  for (const word of rest.split(/\s+/)) {
    const match = /^--([a-z][\w-]*)(?:=(.*))?$/.exec(word);
    if (match === null) break;
    options.push({ name: match[1] ?? "", value: match[2] ?? "" });
  }
  return options;
}

/** The stages in their order: the image that each begins with, and its name in small letters. */
export function stagesOf(instructions: readonly Instruction[]): { readonly image: string; readonly name?: string }[] {
  return instructions
    .filter(({ keyword }) => keyword === "FROM")
    .map(({ rest }) => {
      const match = /^(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/i.exec(rest);
      return { image: match?.[1] ?? "", ...(match?.[2] === undefined ? {} : { name: match[2].toLowerCase() }) };
    });
}

function readDirectives(lines: readonly string[]): Map<string, { value: string; line: number }> {
  const found = new Map<string, { value: string; line: number }>();
  for (const [index, line] of lines.entries()) {
    const match = /^#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$/.exec(line);
    const name = match?.[1]?.toLowerCase() ?? "";
    if (!known.has(name)) break;
    found.set(name, { value: match?.[2] ?? "", line: index + 1 });
  }
  return found;
}

const isSkipped = (line: string | undefined): boolean => /^\s*(?:#|$)/.test(line ?? "");

function mayHaveDocuments(keyword: string, rest: string): boolean {
  return /^(?:RUN|COPY|ADD)$/.test(keyword) || (keyword === "ONBUILD" && /^(?:RUN|COPY|ADD)\s/i.test(rest));
}

/** The words at which here-documents end, in the order in which they come: `<<EOF`, `<<-"EOF"`, `3<<EOF`. */
function documentMarks(rest: string): string[] {
  return [...rest.matchAll(/(?:^|\s)\d*<<-?(["']?)([A-Za-z_]\w*)\1(?=[\s;|&>)]|$)/g)].map((match) => match[2] ?? "");
}
