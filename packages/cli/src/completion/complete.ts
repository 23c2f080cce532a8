// What may come next on the command line. Fast and silent: a server that is slow, away or of another mind only means fewer candidates.
import type { Command, Completes } from "../command.ts";
import { longName } from "../command.ts";
import type { Context } from "../context.ts";
import { globalOptions } from "../globals.ts";
import { programOf } from "../program.ts";
import { topics } from "../text/topics.ts";
import type { Registry } from "../tree.ts";

export interface Candidate {
  readonly value: string;
  readonly description: string;
}
/** Files and folders are the shell's to complete. */
export type Candidates = readonly Candidate[] | "files" | "folders";

/** ms that the server gets to name its stacks and components. */
const patience = 800;

/** `words` are those after `berth`, the last one being typed. */
export async function complete(words: readonly string[], registry: Registry, context: () => Promise<Context>): Promise<Candidates> {
  const current = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const found = commandIn(before, registry);
  if (found.command === undefined)
    return found.noun === undefined ? firstWords(registry, before[0]) : found.rest.length === 0 ? verbsOf(found.noun, registry) : [];
  const { command, name, rest } = found;
  if (command.raw === true)
    return rest.length === 0
      ? (name[0] === "server"
          ? ["run", "start", "stop", "status", "token", "logs", "claim"]
          : ["status", "start", "stop", "reload", "upgrade"]
        ).map((value) => ({ value, description: "" }))
      : [];
  if (rest.includes("--")) return [];
  const wanted = optionAwaitingValue(command, rest.at(-1));
  if (wanted !== undefined) return wanted === "any" ? [] : valuesOf(wanted, rest, context);
  if (current.startsWith("-")) return optionsOf(command, name);
  const position = positionals(command, rest).length;
  const specs = Object.values(command.arguments);
  const argument = specs[position] ?? (specs.at(-1)?.rest === true ? specs.at(-1) : undefined);
  // `berth events` is a daily verb and a noun.
  const verbs = rest.length === 0 && name.length === 1 ? verbsOf(name[0] ?? "", registry) : [];
  if (argument?.completes === undefined) return verbs;
  const values = await valuesOf(argument.completes, rest, context);
  return typeof values === "string" ? values : [...verbs, ...values];
}

interface Found {
  readonly command: Command | undefined;
  readonly name: readonly string[];
  readonly noun: string | undefined;
  readonly rest: readonly string[];
}

function commandIn(words: readonly string[], registry: Registry): Found {
  const [first, second, ...others] = words.filter((word, index) => index > 0 || word !== "help");
  if (first === undefined) return { command: undefined, name: [], noun: undefined, rest: [] };
  const own = second === undefined ? undefined : registry.find([first, second]);
  if (second !== undefined && own !== undefined && registry.nouns.includes(first))
    return { command: own, name: [first, second], noun: first, rest: others };
  const daily = registry.find([first]);
  const rest = second === undefined ? [] : [second, ...others];
  if (daily !== undefined) return { command: daily, name: [first], noun: undefined, rest };
  return registry.nouns.includes(first)
    ? { command: undefined, name: [], noun: first, rest }
    : { command: undefined, name: [], noun: undefined, rest: [first] };
}

function firstWords(registry: Registry, first: string | undefined): Candidate[] {
  if (first !== undefined && first !== "help") return [];
  const daily = [...registry.daily]
    .filter(([, command]) => command.hidden !== true)
    .map(([value, command]) => ({ value, description: command.summary }));
  const nouns = registry.nouns
    .filter((noun) => !registry.daily.has(noun))
    .map((value) => ({ value, description: `${registry.verbs(value).join(", ")}` }));
  return first === "help"
    ? [...daily, ...nouns, ...Object.entries(topics).map(([value, topic]) => ({ value, description: topic.title }))]
    : [...daily, ...nouns, { value: "help", description: "explain a command" }];
}

function verbsOf(noun: string, registry: Registry): Candidate[] {
  return registry.verbs(noun).map((value) => ({ value, description: registry.find([noun, value])?.summary ?? "" }));
}

function optionsOf(command: Command, name: readonly string[]): Candidate[] {
  return programOf(command, name)
    .options.filter((option) => !option.hidden)
    .map((option) => ({ value: option.long ?? option.short ?? "", description: option.description }));
}

/** What completes the value that the word before asks for; "any" when nothing can. */
function optionAwaitingValue(command: Command, word: string | undefined): Completes | "any" | undefined {
  if (word === undefined || !word.startsWith("-")) return undefined;
  const known = [...Object.values(command.options), ...globalOptions.filter((option) => option.on(command) !== false)].find(
    ({ flags }) => longName(flags) === word || flags.startsWith(`${word},`),
  );
  if (known === undefined || !/[<[]/.test(known.flags)) return undefined;
  return known.completes ?? "any";
}

/** The words that are arguments: not options, nor their values. */
function positionals(command: Command, words: readonly string[]): string[] {
  return words.filter((word, index) => !word.startsWith("-") && optionAwaitingValue(command, words[index - 1]) === undefined);
}

async function valuesOf(completes: Completes, rest: readonly string[], context: () => Promise<Context>): Promise<Candidates> {
  if (completes === "file") return "files";
  if (completes === "folder") return "folders";
  if (completes !== "stack" && completes !== "component") return completes.map((value) => ({ value, description: "" }));
  const ctx = await context();
  const signal = AbortSignal.timeout(patience);
  const api = await ctx.api();
  if (completes === "stack")
    return (await api.listStacks({ query: { limit: 200 } }, { signal })).items.map((stack) => ({
      value: stack.name,
      description: stack.state,
    }));
  const at = rest.findIndex((word) => word === "-s" || word === "--stack");
  const stack = (at === -1 ? undefined : rest[at + 1]) ?? (await ctx.stack());
  return (await api.listComponents({ params: { stack }, query: { limit: 200 } }, { signal })).items.map((component) => ({
    value: component.name,
    description: `${component.kind}, ${component.state}`,
  }));
}
