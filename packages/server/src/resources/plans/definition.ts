// From what a caller sent to the definition of a stack: a Compose file, or a folder as one component.
import type { PlanRequest } from "@berth/contract/resources/plans.ts";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { readCompose, type StackDefinition } from "../../core/compose/read.ts";
import { BerthError } from "../../core/errors.ts";

export type Defined = { readonly status: "needs"; readonly files: string[]; readonly variables: string[] } | { readonly status: "defined"; readonly definition: StackDefinition; readonly secretValues: Readonly<Record<string, string>>; readonly folder: boolean };

const defaultNames = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/** Errors: `compose_invalid`, `compose_refused` for the first problem, with all of them in `details`. */
export function readDefinition(request: PlanRequest, engine: "local" | "docker" | "kubernetes"): Defined {
  const unasked = defaultNames.filter((name) => !(name in request.files) && !request.absent.includes(name));
  if (request.composeFiles.length === 0 && !defaultNames.some((name) => name in request.files)) {
    if (unasked.length > 0) return { status: "needs", files: unasked, variables: [] };
    return { status: "defined", folder: true, secretValues: {}, definition: { components: { [request.component ?? "web"]: folderSpec(request) }, volumes: {}, configs: {}, secrets: {}, notes: [] } };
  }
  const result = readCompose({ files: request.files, composeFiles: request.composeFiles, absent: request.absent, variables: request.variables, profiles: request.profiles, engine: { kind: engine } });
  if (result.ok) return { status: "defined", folder: false, definition: result.definition, secretValues: result.secretValues };
  if (result.kind === "needs") return { status: "needs", files: result.files, variables: result.variables };
  const [first] = result.problems;
  throw new BerthError(first?.code ?? "compose_invalid", first?.params ?? {}, { details: result.problems });
}

function folderSpec(request: PlanRequest): ComponentSpec {
  const overrides = request.overrides ?? {};
  return { ...defaultSpec(overrides.kind ?? "web"), build: { context: "." }, ...overrides };
}
