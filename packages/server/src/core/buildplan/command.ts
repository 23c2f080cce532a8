// Turns a line that a person wrote (Procfile, npm script) into a command: an argument array where no shell is needed, else a shell line
// whose last program replaces the shell, so that signals reach it. It must never change what the line means.
import type { Command } from "@berth/contract/spec.ts";

const plainWord = /^[A-Za-z0-9_@%+=:,./-]+$/;
const assignment = /^[A-Za-z_][A-Za-z0-9_]*=/;
const shellWords = new Set([
  ".",
  ":",
  "!",
  "[",
  "[[",
  "{",
  "}",
  "alias",
  "break",
  "case",
  "cd",
  "command",
  "continue",
  "do",
  "done",
  "echo",
  "elif",
  "else",
  "esac",
  "eval",
  "exec",
  "exit",
  "export",
  "fi",
  "for",
  "function",
  "if",
  "pushd",
  "read",
  "readonly",
  "return",
  "set",
  "shift",
  "source",
  "test",
  "then",
  "time",
  "times",
  "trap",
  "type",
  "ulimit",
  "umask",
  "unset",
  "until",
  "wait",
  "while",
]);

/** The command for one line of shell. */
export function commandOf(line: string): Command {
  const trimmed = line.trim();
  const words = trimmed.split(/\s+/);
  if (words.every((word) => plainWord.test(word))) {
    const start = words[0] === "exec" && !assignment.test(words[1] ?? "=") ? words.slice(1) : words;
    if (!startsWithShell(start)) return { exec: assignment.test(start[0] ?? "") ? ["env", ...start] : start };
  }
  const parts = splitChain(trimmed);
  if (parts === undefined) return { shell: trimmed };
  const last = (parts.at(-1) ?? "").trim();
  if (last === "" || startsWithShell(last.split(/\s+/))) return { shell: trimmed };
  return { shell: [...parts.slice(0, -1).map((part) => part.trim()), replacing(last)].join(" && ") };
}

/** Assignments alone run nothing, and shell keywords have no program: neither may be replaced by `exec`. */
function startsWithShell(words: readonly string[]): boolean {
  const program = words.find((word) => !assignment.test(word));
  return program === undefined || shellWords.has(program) || /^(?:["']?[({]|\d*[<>])/.test(program);
}

function replacing(part: string): string {
  if (/^exec\s/.test(part)) return part;
  return `exec ${assignment.test(part) ? "env " : ""}${part}`;
}

/** The parts of a line joined by `&&` alone; undefined when it holds anything else that a prefix could change the meaning of. */
function splitChain(line: string): string[] | undefined {
  const parts: string[] = [];
  let quote: string | undefined;
  let from = 0;
  for (let i = 0; i < line.length; i += 1) {
    const char = line[i] ?? "";
    if (char === "\\") {
      i += 1;
      continue;
    }
    if (quote !== undefined) {
      if (char === quote) quote = undefined;
      else if (quote === '"' && (char === "`" || line.startsWith("$(", i))) return undefined;
    } else if (char === "'" || char === '"') quote = char;
    else if (char === "&" && line[i + 1] === "&") {
      parts.push(line.slice(from, i));
      from = i + 2;
      i += 1;
    } else if (char === "&" ? line[i - 1] !== ">" : ";|()`\n#".includes(char)) return undefined;
  }
  return quote === undefined && parts.every((part) => part.trim() !== "") ? [...parts, line.slice(from)] : undefined;
}

/** The same command, run in a folder below the plan's root. */
export function inFolder(folder: string, command: Command): Command {
  if (folder === ".") return command;
  const enter = `cd ${shellWord(folder)}`;
  if ("exec" in command) return { shell: `${enter} && exec ${command.exec.map(shellWord).join(" ")}` };
  const simple = splitChain(command.shell) !== undefined;
  return { shell: simple ? `${enter} && ${command.shell}` : `${enter} && {\n${command.shell}\n}` };
}

/** Whether a word means itself to a shell, a Dockerfile's parser and its file patterns alike. */
export function isPlainWord(word: string): boolean {
  return plainWord.test(word);
}

/** One word as the shell has to see it. */
export function shellWord(word: string): string {
  return isPlainWord(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The words of a command, roughly: enough to recognise programs and options, not to run anything. */
export function wordsOf(command: Command): string[] {
  if ("exec" in command) return [...command.exec];
  return command.shell
    .split(/[\s;&|()]+/)
    .map((word) => word.replaceAll(/['"]/g, ""))
    .filter((word) => word !== "");
}

/** The program that a command starts, without folders, `exec`, `env` and assignments. */
export function programOf(command: Command): string | undefined {
  const line = "exec" in command ? command.exec : (command.shell.split("&&").at(-1) ?? "").trim().split(/\s+/);
  const word = line.find((item) => item !== "exec" && item !== "env" && item !== "bundle" && !assignment.test(item));
  return word?.slice(word.lastIndexOf("/") + 1);
}

/** A port number that the command fixes by itself. */
export function fixedPort(command: Command): string | undefined {
  const line = "exec" in command ? command.exec.join(" ") : command.shell;
  return /(?:^|\s)(?:-p|-l|--port|--listen|--bind|-b)[= ]?(?:(?:tcp:\/\/)?[\w.]+:)?(\d{2,5})(?=\s|$)/.exec(line)?.[1];
}

/** What people read: the line as one would type it. */
export function showCommand(command: Command): string {
  return "exec" in command ? command.exec.map(shellWord).join(" ") : command.shell;
}
