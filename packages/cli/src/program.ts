// Reads one command's arguments and options with commander, by the command's own data. Runs nothing.
import { Argument, Command as Program, CommanderError, Option } from "commander";
import type { Command } from "./command.ts";
import { UsageError } from "./failure.ts";
import { globalOptions } from "./globals.ts";
import type { Say } from "./text/say.ts";

export interface Parsed {
  readonly kind: "run";
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly options: Readonly<Record<string, unknown>>;
  /** What was given for the shared options, by commander's names: `stack`, `json`, `wait`, ... */
  readonly globals: Readonly<Record<string, unknown>>;
}

/** Values as `run` wants them, or the wish for help. Errors: UsageError. */
export function parseCommand(
  command: Command,
  name: readonly string[],
  args: readonly string[],
  now: Date,
  say: Say,
): Parsed | { readonly kind: "help" } {
  if (command.raw === true) return { kind: "run", arguments: { rest: args }, options: {}, globals: {} };
  const program = programOf(command, name);
  try {
    program.parse([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.helpDisplayed" || error.code === "commander.help") return { kind: "help" };
    throw new UsageError(sentence(error.message), hint(error.message) ?? say("see_help", { path: name.join(" ") }));
  }
  const given = program.opts();
  const options: Record<string, unknown> = {};
  for (const [key, option] of Object.entries(command.options))
    options[key] = option.read(given[new Option(option.flags).attributeName()], now);
  const argumentsByName: Record<string, unknown> = {};
  for (const [index, [key, argument]] of Object.entries(command.arguments).entries())
    argumentsByName[key] = readArgument(argument, program.processedArgs[index], key);
  return { kind: "run", arguments: argumentsByName, options, globals: given };
}

function readArgument(argument: Command["arguments"][string], raw: unknown, key: string): unknown {
  return raw === undefined && !argument.rest && !argument.required ? undefined : argument.read(raw, `<${key}>`);
}

/** The commander program of one command; also the source of its usage line. */
export function programOf(command: Command, name: readonly string[]): Program {
  const program = new Program(`berth ${name.join(" ")}`);
  program
    .exitOverride()
    .configureOutput({ writeOut: () => undefined, writeErr: () => undefined })
    .helpOption("-h, --help", "this help")
    .allowExcessArguments(false);
  if (command.passesThrough === true) program.enablePositionalOptions().passThroughOptions();
  for (const [key, argument] of Object.entries(command.arguments)) {
    const shown = `${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}${argument.rest ? "..." : ""}`;
    program.addArgument(new Argument(argument.required ? `<${shown}>` : `[${shown}]`, argument.summary));
  }
  const own = new Set<string>();
  for (const option of Object.values(command.options)) {
    const made = new Option(option.flags, option.summary);
    if (made.short !== undefined) own.add(made.short);
    if (made.long !== undefined) own.add(made.long);
    if (option.list) made.argParser((value: string, before: unknown) => [...(Array.isArray(before) ? (before as unknown[]) : []), value]);
    program.addOption(made);
  }
  for (const option of globalOptions) {
    const on = option.on(command);
    if (on === false || [...option.flags.matchAll(/--?[a-z-]+/g)].some(([spelling]) => own.has(spelling))) continue;
    program.addOption(new Option(option.flags, option.summary).hideHelp(on === "hidden"));
  }
  return program;
}

function sentence(message: string): string {
  const text = (message.split("\n")[0] ?? message).replace(/^error: /, "").replaceAll("'", "`");
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

/** Commander's own "Did you mean". */
function hint(message: string): string | undefined {
  return /\((Did you mean .*)\)/s.exec(message)?.[1]?.replace(
    /(one of )?(--?[\w-]+(?:, --?[\w-]+)*)\?/,
    (_, several: string | undefined, names: string) =>
      `${several ?? ""}${names
        .split(", ")
        .map((name) => `\`${name}\``)
        .join(", ")}?`,
  );
}
