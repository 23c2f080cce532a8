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
 * By the name that BuildKit gives an instruction that makes something of its own, `build 3` for the third such one of the stage `build` and `3` when
 * there is but one stage: its number, from 0, in the file.
 */
export function placesOf(instructions: readonly Instruction[]): Map<string, number> {
  const places = new Map<string, number>();
  const stages = stagesOf(instructions);
  let stage = -1;
  let count = 0;
  for (const [index, { keyword }] of instructions.entries()) {
    if (keyword === "FROM") {
      stage += 1;
      count = 0;
    }
    if (stage < 0 || !counted.has(keyword)) continue;
    count += 1;
    const name = stages.length === 1 ? "" : `${stages[stage]?.name ?? `stage-${String(stage)}`} `;
    places.set(`${name}${String(count)}`, index);
  }
  return places;
}

const counted: ReadonlySet<string> = new Set(["FROM", "RUN", "COPY", "ADD", "WORKDIR"]);

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
