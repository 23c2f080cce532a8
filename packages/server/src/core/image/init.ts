// `berth init`: the files by which people own how their project becomes an image, and how it is started beside others. What Berth itself would have done, written down. Pure.
import { argumentsOf } from "../command.ts";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Cause } from "@berth/contract/causes.ts";
import { Document } from "yaml";
import { joinPath } from "../buildplan/source.ts";
import { toName } from "../compose/names.ts";
import type { Catalogue } from "./catalogue.ts";
import { writeDockerfile } from "./dockerfile.ts";
import { imagePort, imageRecipe, staticServer } from "./recipe.ts";

/** A file of the repository; `path` is relative to the source's top. */
export interface InitFile {
  readonly path: string;
  readonly text: string;
}

/** What no image needs, whoever builds it. */
const neverNeeded = [
  ".git",
  ".gitignore",
  ".dockerignore",
  "Dockerfile",
  "compose*.yaml",
  "docker-compose*.yml",
  ".env",
  ".env.local",
  ".env.*.local",
  ".berth.json",
];

/** `server`: the text of Berth's file server, for static sites. The same plan gives the same bytes. Causes: `base_missing`, `tool_not_in_images`. */
export function initFiles(
  plan: BuildPlan,
  catalogue: Catalogue,
  server: string,
): { readonly ok: true; readonly files: readonly InitFile[] } | { readonly ok: false; readonly cause: Cause } {
  const at = (name: string): string => joinPath(plan.root, name);
  const compose = { path: at("compose.yaml"), text: writeServices(plan) };
  // The repository has a Dockerfile of its own already; what it needs, only its author knows.
  if (plan.kind === "dockerfile") return { ok: true, files: [compose] };
  const outcome = imageRecipe(plan, catalogue);
  if (!outcome.ok) return outcome;
  const { recipe } = outcome;
  const head = `# Written by \`berth init\` from what the project's own files say. It is yours: change it as you like.\n`;
  return {
    ok: true,
    files: [
      { path: at("Dockerfile"), text: `${head}\n${writeDockerfile(recipe)}` },
      { path: at(".dockerignore"), text: lines([...new Set([...neverNeeded, ...recipe.ignore])]) },
      compose,
      ...(recipe.needsStaticServer ? [{ path: at(staticServer.inContext), text: server }] : []),
    ],
  };
}

const lines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join("");

/** One service for each process type that keeps running. What they share is the build. */
function writeServices(plan: BuildPlan): string {
  const names = Object.keys(plan.processes).filter((name) => name !== "release");
  const build = plan.dockerfile === undefined || plan.dockerfile === "Dockerfile" ? "." : { context: ".", dockerfile: plan.dockerfile };
  const services = Object.fromEntries(
    names.map((name): [string, object] => {
      const process = { "x-berth": { process: name } };
      if (name === "web") return [name, { build, ports: [`${imagePort}:${imagePort}`], ...process }];
      const command = plan.processes[name]?.command;
      // A tool without processes of that name starts it all the same.
      return [toName(name), { build, ...(command === undefined ? {} : { command: argumentsOf(command).map(literal) }), ...process }];
    }),
  );
  const document = new Document(
    { services: names.length === 0 ? { web: { build, ports: [`${imagePort}:${imagePort}`] } } : services },
    { version: "1.2" },
  );
  return document.toString({ lineWidth: 0, singleQuote: false });
}

/** Compose reads `$` as the beginning of a variable. */
const literal = (word: string): string => word.replaceAll("$", "$$$$");
