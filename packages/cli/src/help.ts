// Help pages, written from the commands' own data.
import { Option } from "commander";
import type { Command } from "./command.ts";
import { globalOptions } from "./globals.ts";
import type { Paint } from "./output/colour.ts";
import { padded, widthOf, wrapped } from "./output/width.ts";
import { programOf } from "./program.ts";
import { nounSummaries, topics } from "./text/topics.ts";
import type { Registry } from "./tree.ts";

interface Page {
  readonly width: number;
  readonly paint: Paint;
}

/** The page about everything, a noun, a command or a topic; undefined when there is none. */
export function helpPage(about: readonly string[], registry: Registry, page: Page): string[] | undefined {
  const [first, second] = about;
  if (first === undefined) return overview(registry, page);
  const command = registry.find(about.slice(0, 2));
  if (command !== undefined) return commandPage(command, about.slice(0, second === undefined ? 1 : 2), page);
  if (second === undefined && registry.nouns.includes(first)) return nounPage(first, registry, page);
  const topic = topics[first];
  return topic === undefined
    ? undefined
    : [page.paint.bold(topic.title), "", ...topic.text.flatMap((line) => (line.startsWith(" ") ? [line] : wrapped(line, page.width)))];
}

function overview(registry: Registry, page: Page): string[] {
  const shown = [...registry.daily].filter(([, command]) => command.hidden !== true);
  return [
    ...wrapped("Berth builds, runs and watches stacks of components.", page.width),
    "",
    `${page.paint.bold("Usage:")} berth <verb>, or berth <noun> <verb>`,
    "",
    page.paint.bold("Daily verbs"),
    ...list(
      shown.map(([name, command]) => [name, command.summary]),
      page,
    ),
    "",
    page.paint.bold("Nouns"),
    ...list(
      registry.nouns.map((noun) => [noun, nounSummary(noun, registry)]),
      page,
    ),
    "",
    page.paint.bold("More"),
    ...list(
      [
        ["help <command>", "what a command takes, with examples"],
        ...Object.entries(topics).map(([name, topic]) => [`help ${name}`, topic.title] as const),
      ],
      page,
    ),
    "",
    ...wrapped("`berth up` in a folder with code is the place to start.", page.width),
  ];
}

function nounPage(noun: string, registry: Registry, page: Page): string[] {
  const commands = registry.verbs(noun).map((verb) => [verb, registry.find([noun, verb])] as const);
  const daily = registry.daily.get(noun);
  return [
    ...wrapped(nounSummaries[noun] ?? "", page.width),
    "",
    `${page.paint.bold("Usage:")} berth ${noun} <verb>`,
    "",
    page.paint.bold("Verbs"),
    ...list(
      commands.filter(([, command]) => command?.hidden !== true).map(([verb, command]) => [verb, command?.summary ?? ""]),
      page,
    ),
    ...(daily === undefined ? [] : ["", ...wrapped(`Without a verb: ${daily.summary}`, page.width)]),
  ];
}

function commandPage(command: Command, name: readonly string[], page: Page): string[] {
  const program = programOf(command, name);
  const own = Object.values(command.options).map((option) => [spaced(option.flags), option.summary] as const);
  const shared = globalOptions
    .filter(
      (option) =>
        option.on(command) === true &&
        program.options.some(
          (made) => made.long === new Option(option.flags).long && !own.some(([flags]) => flags.includes(made.long ?? "")),
        ),
    )
    .map((option) => [spaced(option.flags), option.summary] as const);
  const parameters = Object.values(command.arguments).map(
    (argument, index) => [program.registeredArguments[index]?.name() ?? "", argument.summary] as const,
  );
  const usage = `berth ${name.join(" ")}${own.length + shared.length > 0 && command.raw !== true ? " [options]" : ""}${program.registeredArguments.map((argument) => ` ${argument.required ? "<" : "["}${argument.name()}${argument.variadic ? "..." : ""}${argument.required ? ">" : "]"}`).join("")}`;
  const others = [command.path.join(" "), ...(command.daily === undefined ? [] : [command.daily])].filter(
    (other) => other !== name.join(" "),
  );
  return [
    ...wrapped(command.summary, page.width),
    ...(command.description === undefined ? [] : ["", ...wrapped(command.description, page.width)]),
    "",
    `${page.paint.bold("Usage:")} ${usage}`,
    ...others.map((other) => `  also: berth ${other}`),
    ...section("Arguments", parameters, page),
    ...section("Options", own, page),
    ...(command.raw === true ? [] : section("Shared options", shared, page)),
    "",
    page.paint.bold("Examples"),
    ...command.examples.flatMap(([line, what]) => [
      ...wrapped(what, page.width - 2, "  # ").map((text) => page.paint.dim(text)),
      `  ${line}`,
    ]),
  ];
}

function section(title: string, rows: readonly (readonly [string, string])[], page: Page): string[] {
  return rows.length === 0 ? [] : ["", page.paint.bold(title), ...list(rows, page)];
}

/** Options without a short form line up with those that have one. */
function spaced(flags: string): string {
  return flags.startsWith("--") ? `    ${flags}` : flags;
}

function list(rows: readonly (readonly [string, string])[], page: Page): string[] {
  const column = Math.min(30, Math.max(0, ...rows.map(([name]) => widthOf(name)))) + 4;
  return rows.flatMap(([name, summary]) => {
    const lines = wrapped(summary, Math.max(20, page.width - column));
    const first = `  ${name}`;
    return widthOf(first) + 2 > column
      ? [first, ...lines.map((line) => " ".repeat(column) + line)]
      : lines.map((line, index) => (index === 0 ? padded(first, column) : " ".repeat(column)) + line);
  });
}

function nounSummary(noun: string, registry: Registry): string {
  return `${nounSummaries[noun] ?? ""} (${registry
    .verbs(noun)
    .filter((verb) => registry.find([noun, verb])?.hidden !== true)
    .join(", ")})`;
}
