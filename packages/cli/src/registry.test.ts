import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { routes, type RouteName } from "@berth/contract/api.ts";
import type { Route } from "@berth/contract/route.ts";
import { describe, expect, it } from "vitest";
import { helpPage } from "./help.ts";
import { painter } from "./output/colour.ts";
import { widthOf } from "./output/width.ts";
import { parseCommand } from "./program.ts";
import { registry } from "./registry.ts";
import { resolve } from "./resolve.ts";
import { sayIn } from "./text/say.ts";
import { en } from "./text/en.ts";
import { nounSummaries, topics } from "./text/topics.ts";
import { now } from "./testing/objects.ts";
import { version } from "./version.ts";

const say = sayIn("en");
const names = [...registry.commands.map((command) => command.path), ...[...registry.daily.keys()].map((name) => [name])];
const sources = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? entry.name === "testing"
        ? []
        : sources(join(folder, entry.name))
      : entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts")
        ? [join(folder, entry.name)]
        : [],
  );

describe("every route of the API", () => {
  const text = sources(import.meta.dirname)
    .map((file) => readFileSync(file, "utf8"))
    .join("\n");
  // What registries call is for no person to call.
  const forPeople = (Object.keys(routes) as RouteName[]).filter((name) => routes[name].kind !== "webhook");
  it.each(forPeople)("%s is used by a command", (name) => {
    expect(text).toMatch(new RegExp(`\\.${name}\\(`));
  });
});

describe("every command file", () => {
  it("is in the registry", () => {
    const folder = join(import.meta.dirname, "commands");
    const verbs = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap((noun) =>
        readdirSync(join(folder, noun.name)).map((file) => (noun.name === "daily" ? [file.slice(0, -3)] : [noun.name, file.slice(0, -3)])),
      );
    expect(verbs.length).toBeGreaterThan(60);
    expect(verbs.filter((path) => registry.find(path) === undefined)).toEqual([]);
  });
});

describe.each(names.map((name) => [name.join(" "), name] as const))("berth %s", (_, name) => {
  const command = registry.find(name);
  it("has a summary, examples, and help that fits its width", () => {
    expect(command?.summary).toMatch(/^[A-Z].*[^.]$/);
    expect(command?.examples.length).toBeGreaterThan(0);
    for (const width of [60, 80, 120]) {
      const page = helpPage(name, registry, { width, paint: painter(false) }) ?? [];
      expect(page.join("\n")).toContain("Usage:");
      // Examples and usage are lines to copy: they are not broken.
      const text = page.slice(0, page.indexOf("Examples")).filter((line) => !line.startsWith("Usage:"));
      expect(text.length).toBeGreaterThan(0);
      for (const line of text) expect(widthOf(line), line).toBeLessThanOrEqual(width);
    }
  });

  it("has examples that it understands itself", () => {
    for (const [line] of command?.examples ?? []) {
      const own = line
        .split(/[|;&]+|\$\(|<\(/)
        .map((part) => part.replace(/[)].*$|[<>].*$/g, "").trim())
        .find((part) => part.startsWith("berth "));
      expect(own, line).toBeDefined();
      const resolved = resolve(shellWords(own ?? "").slice(1), registry, say);
      if (resolved.kind !== "command") {
        expect(resolved.kind, line).toBe("version");
        continue;
      }
      expect(resolved.note, line).toBeUndefined();
      const found = registry.find(resolved.path);
      if (found === undefined) throw new Error(`no command for ${line}`);
      expect(parseCommand(found, resolved.path, resolved.args, now, say).kind, line).toBe("run");
    }
  });
});

describe("help", () => {
  it("has a page for every noun and topic, and lists every daily verb and noun", () => {
    for (const noun of registry.nouns) {
      expect(nounSummaries[noun], noun).toBeDefined();
      expect(helpPage([noun], registry, { width: 80, paint: painter(false) })?.join("\n"), noun).toContain("Usage:");
    }
    for (const topic of Object.keys(topics)) expect(helpPage([topic], registry, { width: 80, paint: painter(false) })).toBeDefined();
    const overview = helpPage([], registry, { width: 80, paint: painter(false) }) ?? [];
    for (const [name, command] of registry.daily)
      if (command.hidden !== true)
        expect(
          overview.some((line) => line.startsWith(`  ${name} `)),
          name,
        ).toBe(true);
    for (const line of overview) expect(widthOf(line)).toBeLessThanOrEqual(80);
  });
});

// The words are written out in the commands: the contract's schemas would cost every start of the command line a schema library.
describe("every filter of a list", () => {
  const folder = join(import.meta.dirname, "commands");
  const filters = readdirSync(folder).flatMap((noun) => {
    const command = registry.find([noun, "list"]);
    if (command === undefined) return [];
    const text = readFileSync(join(folder, noun, "list.ts"), "utf8");
    // Its own route, in its forms: instances are also listed component by component.
    const own = [...text.matchAll(/\bapi\.(list\w+)\(/g)].flatMap(([, route = ""]) =>
      route.toLowerCase().endsWith(noun.replaceAll("-", "")) ? [route as RouteName] : [],
    );
    return own.flatMap((route) =>
      Object.entries(choicesOf(route)).map(([key, choices]) => [route, key, choices, command.options?.[key]?.completes] as const),
    );
  });
  it("is looked at", () => {
    expect(filters.length).toBeGreaterThan(8);
  });
  it.each(filters)("%s by %s offers exactly what the API takes", (_route, _key, choices, offered) => {
    expect(offered).toEqual(choices);
  });
});

/** Query fields of the route that may be one of a few words. */
function choicesOf(name: RouteName): Record<string, readonly string[]> {
  const query = (routes[name] as Route).query as {
    readonly properties?: Record<string, { readonly anyOf?: { readonly const?: string }[] }>;
  };
  return Object.fromEntries(
    Object.entries(query.properties ?? {}).flatMap(([key, { anyOf = [] }]) => {
      const words = anyOf.flatMap((one) => one.const ?? []);
      return key === "sort" || words.length === 0 ? [] : [[key, words]];
    }),
  );
}

describe("messages", () => {
  it("are each used somewhere", () => {
    const text = sources(import.meta.dirname)
      .filter((file) => !file.endsWith("en.ts"))
      .map((file) => readFileSync(file, "utf8"))
      .join("\n");
    expect(Object.keys(en).filter((key) => !text.includes(`"${key}"`) && !text.includes(`en.${key}`))).toEqual([]);
  });
});

it("says the version of its package", () => {
  const manifest = JSON.parse(readFileSync(join(import.meta.dirname, "..", "package.json"), "utf8")) as { version: string };
  expect(version).toBe(manifest.version);
});

function shellWords(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ""));
}
