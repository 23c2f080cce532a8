// A build plan for people: what was found, which tools, which steps, how it starts.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Command } from "@berth/contract/spec.ts";

export function planFacts(plan: BuildPlan): (readonly [string, string | undefined])[] {
  const text = (command: Command): string => ("shell" in command ? command.shell : command.exec.join(" "));
  return [
    ["kind", `${plan.kind}${plan.flavour === undefined ? "" : ` (${plan.flavour})`}${plan.root === "." ? "" : ` in ${plan.root}`}`],
    ["dockerfile", plan.kind === "dockerfile" ? dockerfileFacts(plan) : undefined],
    [
      "tools",
      plan.tools.map((tool) => `${tool.name} ${tool.wanted === "*" ? "" : `${tool.wanted} `}(${tool.why})`).join("\n") || undefined,
    ],
    ["plan", plan.steps.map((step) => `${step.name}: ${text(step.command)} (${step.why})`).join("\n") || undefined],
    [
      "starts",
      Object.entries(plan.processes)
        .map(([name, process]) => `${name}: ${text(process.command)} (${process.why})`)
        .join("\n") || undefined,
    ],
  ];
}

function dockerfileFacts({ dockerfile = "Dockerfile", target, secrets = [] }: BuildPlan): string {
  return `${dockerfile}${target === undefined ? "" : `, up to ${target}`}${secrets.length === 0 ? "" : `, with the build secrets ${secrets.join(", ")}`}`;
}
