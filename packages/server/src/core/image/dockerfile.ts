// Writes a recipe down as a Dockerfile, for builders and for people who keep it in their repository. Every word is quoted for the reader that it
// meets: the Dockerfile's own parser, its variable expansion, or a shell. Pure.
import type { Command } from "@berth/contract/spec.ts";
import { shellWord } from "../buildplan/command.ts";
import { imageRoot, type CacheMount, type Instruction, type Recipe, type Stage } from "./recipe.ts";

/** What a builder understands beyond the oldest Dockerfiles. */
export interface DockerfileFeatures {
  /** `RUN --mount=type=cache`; the ids of its caches begin with this, so that no two stacks share one. undefined = it has none. */
  readonly cachePrefix?: string;
  /** `RUN --network=none`. */
  readonly networkNone?: boolean;
}

/** The text of the recipe; the same recipe and features give the same bytes. */
export function writeDockerfile(recipe: Recipe, features: DockerfileFeatures = {}): string {
  return recipe.stages.map((stage) => writeStage(stage, features)).join("\n");
}

/** For each instruction of the written recipe, in the order in which builders count them: the plan's step that it runs. */
export function stepsOfInstructions(recipe: Recipe): (string | undefined)[] {
  return recipe.stages.flatMap(({ instructions }) => [
    // FROM and WORKDIR.
    undefined,
    undefined,
    ...instructions.flatMap((instruction): (string | undefined)[] => {
      if (instruction.type === "arg") return instruction.names.map(() => undefined);
      return [instruction.type === "run" ? instruction.step : undefined];
    }),
  ]);
}

/** Goes on in the next line of the file, in the same instruction. */
const nextLine = " \\\n    ";

function writeStage(stage: Stage, features: DockerfileFeatures): string {
  const lines = [
    `# ${stage.name ?? "The image"}: ${stage.why}.`,
    `FROM ${stage.from}${stage.name === undefined ? "" : ` AS ${stage.name}`}`,
    `WORKDIR ${imageRoot}`,
    ...stage.instructions.flatMap((instruction) => writeInstruction(instruction, features)),
  ];
  return `${lines.join("\n")}\n`;
}

function writeInstruction(instruction: Instruction, features: DockerfileFeatures): string[] {
  switch (instruction.type) {
    case "env":
      return [
        `ENV ${Object.entries(instruction.env)
          .map(([name, value]) => `${name}=${quoted(value)}`)
          .join(nextLine)}`,
      ];
    case "arg":
      return instruction.names.map((name) => `ARG ${name}`);
    case "copy":
      return [copyLine(instruction)];
    case "run":
      return [
        ...(instruction.why === undefined ? [] : [`# ${oneLine(instruction.why)}`]),
        `RUN ${[...runOptions(instruction, features), runWords(instruction.command)].join(nextLine)}`,
      ];
    case "user":
      return [`USER ${instruction.user}`];
    case "expose":
      return [`EXPOSE ${instruction.port}`];
    case "cmd":
      return [`CMD ${JSON.stringify(instruction.words)}`];
    default:
      return instruction satisfies never;
  }
}

function copyLine({ from, owner, sources, target }: Extract<Instruction, { type: "copy" }>): string {
  const options = [...(from === undefined ? [] : [`--from=${from}`]), ...(owner === undefined ? [] : [`--chown=${owner}`])];
  return ["COPY", ...options, ...sources, target].join(" ");
}

function runOptions(instruction: Extract<Instruction, { type: "run" }>, features: DockerfileFeatures): string[] {
  const { cachePrefix } = features;
  const mount = ({ name, target }: CacheMount): string =>
    `--mount=type=cache,id=${cachePrefix ?? ""}-${name},target=${target},sharing=locked`;
  return [
    ...(cachePrefix === undefined ? [] : instruction.caches.map(mount)),
    ...(features.networkNone === true && !instruction.network ? ["--network=none"] : []),
  ];
}

/** As one would type it where that means the same; else as JSON, which no parser touches. */
function runWords(command: Command): string {
  const line = "exec" in command ? command.exec.map(shellWord).join(" ") : command.shell;
  // A line break ends an instruction, a backslash at the end and a here-document's sign mean something of their own, and so does a leading bracket or option.
  if (/[\r\n]|\\$|<<|^\s*(?:\[|--)/.test(line)) return JSON.stringify(["/bin/sh", "-c", line]);
  return line;
}

/** The value between double quotes; `$PATH` alone stays a variable, since it is the base image's. */
function quoted(value: string): string {
  const escaped = oneLine(value)
    .replaceAll(/["\\$]/g, (sign) => `\\${sign}`)
    .replaceAll(/\\\$(?:PATH\b|\{PATH\})/g, "$PATH");
  return /^[A-Za-z0-9_@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped}"`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*[\r\n]+\s*/g, " ");
}
