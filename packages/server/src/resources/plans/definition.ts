// From what a caller sent to the definition of a stack: a Compose file, or a folder as one component.
import type { PlanRequest } from "@berth/contract/resources/plans.ts";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import type { ComposeInput } from "../../core/compose/input.ts";
import { lookForCompose } from "../../core/compose/load.ts";
import { readCompose, type StackDefinition } from "../../core/compose/read.ts";
import { BerthError } from "../../core/errors.ts";

export type Defined =
  | { readonly status: "needs"; readonly files: string[]; readonly variables: string[] }
  | {
      readonly status: "defined";
      readonly definition: StackDefinition;
      readonly secretValues: Readonly<Record<string, string>>;
      readonly folder: boolean;
    };

/** Errors: `compose_invalid`, `compose_refused` for the first problem, with all of them in `details`. */
export function readDefinition(request: PlanRequest, engine: "local" | "docker" | "kubernetes"): Defined {
  const input: ComposeInput = {
    files: request.files,
    composeFiles: request.composeFiles,
    absent: request.absent,
    variables: request.variables,
    profiles: request.profiles,
    engine: { kind: engine },
  };
  const found = lookForCompose(input);
  if (found.status === "needs") return { ...found, variables: [] };
  if (found.status === "none")
    return {
      status: "defined",
      folder: true,
      secretValues: {},
      definition: { components: { [request.component ?? "web"]: folderSpec(request) }, volumes: {}, configs: {}, secrets: {}, notes: [] },
    };
  const result = readCompose(input);
  if (result.ok) return { status: "defined", folder: false, definition: result.definition, secretValues: result.secretValues };
  if (result.kind === "needs") return { status: "needs", files: result.files, variables: result.variables };
  const [first] = result.problems;
  throw new BerthError(first?.code ?? "compose_invalid", first?.params ?? {}, { details: result.problems });
}

function folderSpec(request: PlanRequest): ComponentSpec {
  const overrides = request.overrides ?? {};
  return { ...defaultSpec(overrides.kind ?? "web"), build: { context: "." }, ...overrides };
}
