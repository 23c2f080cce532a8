// Which instruction of a Dockerfile a builder speaks of, and the cause when it failed there.
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { readInstructions, showInstruction, stagesOf, type Instruction } from "../../core/buildplan/instructions.ts";
import { stepsOfInstructions, writeDockerfile, type DockerfileFeatures } from "../../core/image/dockerfile.ts";
import type { Recipe } from "../../core/image/recipe.ts";
import type { StepLog } from "../log.ts";
import type { OwnFile } from "./ownfile.ts";

/** A Dockerfile that is about to be built. */
export interface Script {
  readonly text: string;
  /** In the order in which builders count them. */
  readonly instructions: readonly ScriptInstruction[];
  /** The repository's own, by its name for people; undefined for a generated one, whose lines nobody has seen. */
  readonly own?: string;
}

export interface ScriptInstruction extends Instruction {
  /** What it is called in the build's log and steps; undefined for what only the image itself is made of. */
  readonly step?: string;
  /** Berth put it there, and nobody has to know. */
  readonly hidden?: true;
}

/** Steps are the plan's. */
export function generatedScript(recipe: Recipe, features: DockerfileFeatures = {}): Script {
  const text = writeDockerfile(recipe, features);
  const steps = stepsOfInstructions(recipe);
  const instructions = readInstructions(text).all.map((one, index): ScriptInstruction => {
    const step = steps[index];
    return step === undefined ? one : { ...one, step };
  });
  return { text, instructions };
}

/** Steps are what it runs, each with its line. */
export function ownScript(file: OwnFile): Script {
  const instructions = file.read.all.map((one): ScriptInstruction =>
    one.keyword === "RUN" ? { ...one, step: `${showInstruction(one, 60)} (line ${String(one.line)})` } : one,
  );
  return { text: file.text, instructions, own: file.path };
}

/**
 * Finds the instruction that BuildKit means by a name such as `[build 3/9] RUN npm ci`, whose number is not the one in the file: what it counts depends on
 * bases and options. So the words decide, as far as no variable is put in, and among equal ones the nearest number.
 */
export function instructionFinder<T extends Instruction>(instructions: readonly T[]): (name: string) => T | undefined {
  const places = placesOf(instructions);
  return (name) => {
    const match = /^\[(?:(\S+) +| +)?(\d+)\/\d+\] (?:LINK )?(.*)$/s.exec(name);
    if (match === null) return undefined;
    const [, stage, number, text = ""] = match;
    const said = withoutSpace(text);
    let best: { readonly one: T; readonly far: number } | undefined;
    for (const place of places) {
      if ((stage !== undefined && stage !== place.stage) || !said.startsWith(place.words)) continue;
      const far = Math.abs(place.count - Number(number));
      if (best === undefined || far < best.far) best = { one: place.one, far };
    }
    return best?.one;
  };
}

interface Place<T> {
  readonly one: T;
  readonly stage: string;
  /** Without spaces, up to the first variable. */
  readonly words: string;
  /** How many layers its stage has with it. */
  readonly count: number;
}

function placesOf<T extends Instruction>(instructions: readonly T[]): Place<T>[] {
  const stages = stagesOf(instructions);
  const earlier = new Set(["scratch"]);
  const places: Place<T>[] = [];
  let at = -1;
  let count = 0;
  for (const one of instructions) {
    if (one.keyword === "FROM") {
      at += 1;
      // A stage that begins with an earlier one, or with nothing, has no layer of its own yet.
      count = earlier.has(stages[at]?.image.toLowerCase() ?? "") ? 0 : 1;
      earlier.add(stages[at]?.name ?? "scratch");
    } else if (counted.has(one.keyword)) count += 1;
    const words = withoutSpace(`${one.keyword}${one.rest.split("$")[0] ?? ""}`);
    if (at >= 0) places.push({ one, stage: stages[at]?.name ?? `stage-${String(at)}`, words, count });
  }
  return places;
}

/** Those that make a layer. */
const counted: ReadonlySet<string> = new Set(["RUN", "COPY", "ADD", "WORKDIR"]);

const withoutSpace = (text: string): string => text.replaceAll(/\s+/g, "");

/** What a builder told of the end of an instruction. */
export type InstructionEnd = { readonly exitCode: number; readonly log: StepLog } | { readonly reason: string };

/** Causes: `dockerfile_step_failed` for the repository's own file, `build_failed` and `image_step_failed` for Berth's; or the one whose remedy the output tells. */
export function instructionFailure(script: Script, at: ScriptInstruction | undefined, end: InstructionEnd, said: string): Cause {
  const instruction = at === undefined ? said : showInstruction(at);
  const line = script.own === undefined || at === undefined ? undefined : { file: script.own, line: at.line };
  if ("reason" in end)
    return line === undefined
      ? cause("image_step_failed", { instruction, reason: end.reason })
      : cause("dockerfile_step_failed", { ...line, instruction, reason: end.reason }, [lineOf(line, instruction)]);
  const failure = end.log.scan.failure({ step: at?.step ?? instruction, exitCode: end.exitCode });
  if (line === undefined) return failure;
  const evidence = [lineOf(line, instruction), ...failure.evidence];
  if (failure.code !== "build_failed") return { ...failure, evidence };
  const reason = `it ended with exit code ${String(end.exitCode)}: ${String(failure.params["line"])}`;
  return cause("dockerfile_step_failed", { ...line, instruction, reason }, evidence);
}

function lineOf({ file, line }: { readonly file: string; readonly line: number }, instruction: string): Evidence {
  return { kind: "file", text: `${file}:${String(line)}: ${instruction}` };
}
