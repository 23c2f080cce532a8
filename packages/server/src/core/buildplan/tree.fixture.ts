// Source trees for tests: a table of path and content. Text is given only for files of interest, so that a test fails when detection asks for another.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { showCommand } from "./command.ts";
import { detectBuildPlan, filesOfInterest, type DetectOptions, type Detected } from "./detect.ts";
import type { SourceTree } from "./source.ts";

export type Files = Readonly<Record<string, string | object>>;

export function treeOf(files: Files): SourceTree {
  const texts = new Map(
    Object.entries(files).map(([path, content]) => [path, typeof content === "string" ? content : JSON.stringify(content)]),
  );
  return { files: new Set(texts.keys()), read: (path) => (filesOfInterest(path) ? texts.get(path) : undefined) };
}

export function detect(files: Files, options: Partial<DetectOptions> = {}): Detected {
  return detectBuildPlan(treeOf(files), { root: ".", prefer: "process", ...options });
}

/** The plan, or a failure of the test that names the cause. */
export function planOf(files: Files, options: Partial<DetectOptions> = {}): BuildPlan {
  const detected = detect(files, options);
  if (!detected.ok) throw new Error(`no plan: ${JSON.stringify(detected.cause)}`);
  return detected.plan;
}

/** The part of a plan that decides what happens, in one line per step, process and tool. */
export function gist(plan: BuildPlan): {
  kind: string;
  steps: string[];
  processes: Record<string, string>;
  tools: string[];
  warnings: string[];
} {
  return {
    kind: plan.flavour === undefined ? plan.kind : `${plan.kind}/${plan.flavour}`,
    steps: plan.steps.map(
      (step) =>
        `${step.name}: ${showCommand(step.command)}${step.inputs.length === 0 ? "" : ` [${step.inputs.join(" ")} -> ${step.outputs.join(" ")}]`}${step.network ? "" : " (offline)"}`,
    ),
    processes: Object.fromEntries(
      Object.entries(plan.processes).map(([name, { command }]) => [name, ("shell" in command ? "$ " : "") + showCommand(command)]),
    ),
    tools: plan.tools.map((tool) => `${tool.name} ${tool.wanted} ${tool.phase}`),
    warnings: plan.warnings.map((warning) => warning.code),
  };
}
