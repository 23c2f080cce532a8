// What the rows of tests have in common: the columns that whoever makes one does not care about, and what a row belongs to.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { TestServices } from "./services.ts";

export const plainSource = {
  principal: "p",
  kind: "upload",
  size: 1,
  files: 1,
  url: null,
  ref: null,
  revision: null,
  author: null,
  message: null,
  dirty: null,
  created_by: "admin",
} as const;

/** Has ended well, without an artifact or a log. */
export const plainBuild = {
  context: ".",
  phase: "succeeded",
  artifact_digest: null,
  log_digest: null,
  cancel_requested_by: null,
  created_by: "admin",
  plan: null,
  cause: null,
} as const;

/** Of no build and no release; `spec` is the caller's. */
export const plainRollout = {
  version_id: null,
  reason: "test",
  build_id: null,
  release_id: null,
  from_release_id: null,
  config: "{}",
  secret_refs: "{}",
  abort_requested_by: null,
  ends_as: null,
  created_by: "admin",
  step: null,
  verified: null,
  cause: null,
} as const;

export const plainTask = {
  release_id: null,
  command: JSON.stringify({ exec: ["x"] }),
  trigger: "user",
  scheduled_for: null,
  deadline: 1000,
  exit_code: null,
  signal: null,
  cancel_requested_by: null,
  created_by: "admin",
  cause: null,
} as const;

/** A new stack with one component of this definition: what rows made by hand refer to. */
export async function componentRow(
  { database: { db }, handlers, call }: TestServices,
  stack: string,
  component: string,
  spec: ComponentSpec,
) {
  await handlers.createStack({ body: { name: stack } }, call());
  await handlers.setComponent({ params: { stack, component }, body: spec }, call());
  return db
    .selectFrom("components as c")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .select(["c.id", "s.id as stack_id", "s.cluster_id"])
    .where("s.name", "=", stack)
    .executeTakeFirstOrThrow();
}
