// Whether a folder is read as a Compose project or as one component, and which files and variables decide that.
import type { PlanRequest } from "@berth/contract/resources/plans.ts";
import { describe, expect, test } from "vitest";
import { BerthError } from "../../core/errors.ts";
import { readDefinition, type Defined } from "./definition.ts";

const service = (name: string, more = ""): string => `services:\n  ${name}:\n    build: .\n${more}`;

/** Answers what is asked for as the CLI does. */
function defined(
  files: Readonly<Record<string, string>>,
  shell: Readonly<Record<string, string>> = {},
  more: Partial<PlanRequest> = {},
): Extract<Defined, { status: "defined" }> {
  const sent: Record<string, string> = {};
  const absent: string[] = [];
  const variables: Record<string, string | null> = {
    COMPOSE_FILE: shell["COMPOSE_FILE"] ?? null,
    COMPOSE_PATH_SEPARATOR: shell["COMPOSE_PATH_SEPARATOR"] ?? null,
  };
  if (files[".env"] !== undefined) sent[".env"] = files[".env"];
  for (let round = 0; round < 10; round += 1) {
    const answer = readDefinition({ files: sent, absent, composeFiles: [], variables, profiles: [], sources: {}, ...more }, "local");
    if (answer.status === "defined") return answer;
    for (const path of answer.files)
      if (files[path] === undefined) absent.push(path);
      else sent[path] = files[path];
    for (const name of answer.variables) variables[name] = shell[name] ?? null;
  }
  throw new Error("asked ten times");
}
const componentsOf = (...args: Parameters<typeof defined>): string[] => Object.keys(defined(...args).definition.components);

describe("a folder", () => {
  test("without any Compose file is one component", () => {
    expect(defined({ "server.js": "" })).toMatchObject({
      folder: true,
      definition: { components: { web: { kind: "web", build: { context: "." } } } },
    });
    expect(componentsOf({}, {}, { component: "api", overrides: { kind: "worker" } })).toEqual(["api"]);
    expect(defined({}, { COMPOSE_FILE: "" }).folder).toBe(true);
  });
  test("with a file that Compose finds by name is a project, even when only the last of the names is there", () => {
    expect(componentsOf({ "docker-compose.yaml": service("api") })).toEqual(["api"]);
  });
  test("whose file is named by COMPOSE_FILE is a project, from the shell and from .env", () => {
    expect(componentsOf({ "stack.yaml": service("api") }, { COMPOSE_FILE: "stack.yaml" })).toEqual(["api"]);
    expect(componentsOf({ "stack.yaml": service("api"), ".env": "COMPOSE_FILE=stack.yaml\n" })).toEqual(["api"]);
    expect(
      componentsOf(
        { "one.yaml": service("one"), "two.yaml": service("two"), ".env": "COMPOSE_FILE=two.yaml" },
        { COMPOSE_FILE: "one.yaml" },
      ),
    ).toEqual(["one"]);
  });
  test("COMPOSE_FILE names several files, in override order, with its own separator, and then no override file counts by itself", () => {
    const files = {
      "a.yaml": service("web", "    environment: {A: a, B: a}\n"),
      "b.yaml": service("web", "    environment: {B: b}\n"),
      "compose.override.yaml": service("web", "    environment: {A: no}\n"),
      "compose.yaml": service("other"),
    };
    expect(defined(files, { COMPOSE_FILE: "a.yaml:b.yaml" }).definition.components["web"]?.env).toEqual({ A: "a", B: "b" });
    expect(defined(files, { COMPOSE_FILE: "a.yaml;b.yaml", COMPOSE_PATH_SEPARATOR: ";" }).definition.components["web"]?.env).toEqual({
      A: "a",
      B: "b",
    });
  });
  test("a file that COMPOSE_FILE names and that is not there is a problem, not a component", () => {
    expect(() => defined({}, { COMPOSE_FILE: "gone.yaml" })).toThrow(BerthError);
  });
  test("COMPOSE_PROFILES activates profiles, from the shell and from .env; a named profile wins over it", () => {
    const files = {
      "compose.yaml": `${service("web")}  debug:\n    build: .\n    profiles: [debug]\n  extra:\n    build: .\n    profiles: [extra]\n`,
    };
    expect(componentsOf(files)).toEqual(["web"]);
    expect(componentsOf(files, { COMPOSE_PROFILES: "debug, extra" })).toEqual(["web", "debug", "extra"]);
    expect(componentsOf({ ...files, ".env": "COMPOSE_PROFILES=extra" })).toEqual(["web", "extra"]);
    expect(componentsOf(files, { COMPOSE_PROFILES: "extra" }, { profiles: ["debug"] })).toEqual(["web", "debug"]);
  });
});
