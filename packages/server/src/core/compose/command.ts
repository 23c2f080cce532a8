// A command written as one line, split into words as Compose does it. Where Compose would silently cut the line at a shell operator, it is kept whole for a shell.
import type { Command } from "@berth/contract/spec.ts";

export type SplitLine =
  | {
      readonly ok: true;
      readonly command: Command | undefined;
      /** The line needs a shell, which Compose would not give it. */ readonly shell: boolean;
    }
  | { readonly ok: false; readonly reason: string };

/** Quotes group, backslash takes the next character as it is (not inside single quotes); no variables, no globs. An empty line is no command. */
export function splitLine(line: string): SplitLine {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let index = 0; index < line.length; index += 1) {
    const character = line[index] ?? "";
    if (character === "\\" && quote !== "'") {
      index += 1;
      if (index >= line.length) return { ok: false, reason: "it ends with a backslash" };
      word = (word ?? "") + (line[index] ?? "");
    } else if (quote !== "'" && needsShell(line, index, quote)) {
      return { ok: true, command: { shell: line.trim() }, shell: true };
    } else if (quote !== "") {
      if (character === quote) quote = "";
      else word = (word ?? "") + character;
    } else if (character === "'" || character === '"') {
      quote = character;
      word ??= "";
    } else if (/[ \t\r\n]/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + character;
  }
  if (quote !== "") return { ok: false, reason: `a closing ${quote} is missing` };
  if (word !== undefined) words.push(word);
  return { ok: true, command: words.length === 0 ? undefined : { exec: words }, shell: false };
}

function needsShell(line: string, index: number, quote: string): boolean {
  const character = line[index] ?? "";
  if (character === "`") return true;
  if (character === "$") return /[A-Za-z_{(]/.test(line[index + 1] ?? "");
  return quote === "" && ";&|<>()".includes(character);
}

/** The list form; `["/bin/sh", "-c", LINE]` is the way to write a shell line in a list. */
export function commandFromWords(words: readonly string[]): Command | undefined {
  const [program, flag, line] = words;
  if (program === undefined) return undefined;
  if (words.length === 3 && program === "/bin/sh" && flag === "-c" && line !== undefined && line !== "") return { shell: line };
  return { exec: [...words] };
}
