// Says a build plan in plain lines, for `berth plan` and for the summary of a stack plan. It decides nothing and adds nothing to the plan.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { showCommand } from "./command.ts";
import { renderWarning } from "./warnings.ts";

const kindNames: Readonly<Record<BuildPlan["kind"], string>> = {
  node: "Node.js",
  python: "Python",
  go: "Go",
  java: "Java",
  php: "PHP",
  ruby: "Ruby",
  rust: "Rust",
  static: "static site",
  dockerfile: "Dockerfile",
  procfile: "Procfile",
};

/** What was found and why, then tools, steps, processes and warnings; one line each. */
export function explainPlan(plan: BuildPlan): string[] {
  const flavour = plan.flavour === undefined ? "" : ` (${plan.flavour})`;
  return [
    `Project: ${kindNames[plan.kind]}${flavour}${plan.root === "." ? "" : `, built in ${plan.root}`}`,
    ...section(
      "Found",
      plan.findings.map(({ file, says }) => `${file}: ${says}`),
    ),
    ...section(
      "Needs",
      plan.tools.map(({ name, wanted, why, phase }) => `${name} ${wanted === "*" ? "(any version)" : wanted}, ${phases[phase]} (${why})`),
    ),
    ...section("Steps", steps(plan)),
    ...section("Processes", processes(plan)),
    ...section("Environment", environment(plan)),
    ...section("Careful", plan.warnings.map(renderWarning)),
  ];
}

const phases = { build: "to build", run: "to run", both: "to build and to run" } as const;

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `  ${line.replaceAll("\n", " ")}`)];
}

function steps(plan: BuildPlan): string[] {
  if (plan.kind === "dockerfile") return [`image: built from ${plan.dockerfile ?? "Dockerfile"}`];
  if (plan.steps.length === 0) return ["none: the files are taken as they are"];
  return plan.steps.map(
    ({ name, command, why, inputs }) =>
      `${name}: ${showCommand(command)} (${why}${inputs.length === 0 ? "" : `; taken from the cache while ${inputs.join(", ")} stay${inputs.length === 1 ? "s" : ""} the same`})`,
  );
}

function processes(plan: BuildPlan): string[] {
  const lines = Object.entries(plan.processes).map(([name, { command, why }]) => `${name}: ${showCommand(command)} (${why})`);
  if (lines.length > 0) return lines;
  return [plan.kind === "dockerfile" ? "those of the image" : "none: nothing says how the project starts"];
}

/** What the plan sets so that tools find their own folders is of no interest here. */
function environment(plan: BuildPlan): string[] {
  const declared = Object.entries(plan.app?.env ?? {}).map(([name, entry]) => {
    const need =
      entry.value !== undefined
        ? "has a default in app.json"
        : entry.generate
          ? "gets a random secret"
          : entry.required
            ? "has to be set"
            : "may be set";
    return `${name}: ${need}${entry.description === undefined ? "" : ` (${entry.description})`}`;
  });
  const set = Object.entries(plan.env)
    .filter(([name, value]) => !Object.hasOwn(plan.app?.env ?? {}, name) && !value.includes("$ROOT"))
    .map(([name, value]) => `${name}=${value}`);
  return [...set, ...declared];
}
