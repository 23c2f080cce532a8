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
  const image = request.overrides?.image;
  if (image !== undefined && engine === "local")
    throw new BerthError("plan_not_possible", {
      reason: `the local engine runs what Berth builds, not images such as ${image}`,
      hint: "Deploy its source instead, or to a Docker cluster (`docs/guide/docker.md`).",
    });
  // It says all that there is to say: whatever lies in the folder is not meant.
  if (image !== undefined) return folderDefined(request);
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
  if (found.status === "none") return folderDefined(request);
  const result = readCompose(input);
  if (result.ok) return { status: "defined", folder: false, definition: result.definition, secretValues: result.secretValues };
  if (result.kind === "needs") return { status: "needs", files: result.files, variables: result.variables };
  const [first] = result.problems;
  throw new BerthError(first?.code ?? "compose_invalid", first?.params ?? {}, { details: result.problems });
}

function folderDefined(request: PlanRequest): Defined {
  return {
    status: "defined",
    folder: true,
    secretValues: {},
    definition: { components: { [request.component ?? "web"]: folderSpec(request) }, volumes: {}, configs: {}, secrets: {}, notes: [] },
  };
}

function folderSpec(request: PlanRequest): ComponentSpec {
  const overrides = request.overrides ?? {};
  const from = overrides.image === undefined ? { build: { context: "." } } : { securityProfile: "baseline" as const };
  return { ...defaultSpec(overrides.kind ?? "web"), ...from, ...overrides };
}
