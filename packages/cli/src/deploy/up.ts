// `berth up`: plan, show, ask where something would be lost, apply exactly what was shown, and follow it to its end.
import type { PlanRequest, StackPlan } from "@berth/contract/resources/plans.ts";
import type { Context } from "../context.ts";
import { follow } from "../follow/follow.ts";
import { UsageError } from "../failure.ts";
import { findProjectFile, guessStack } from "../project.ts";
import { makePlan } from "./plan.ts";
import { planLines } from "./planview.ts";

export interface UpOptions {
  readonly file: readonly string[];
  readonly profile: readonly string[];
  readonly image: string | undefined;
  readonly port: number | undefined;
  readonly follow: boolean;
  readonly prune: boolean;
  readonly runEnv: string | undefined;
  readonly restart: boolean;
  readonly kind: "web" | "worker" | "stateful" | "cron" | undefined;
  readonly start: string | undefined;
  readonly process: string | undefined;
  readonly replicas: number | undefined;
  readonly cluster: string | undefined;
  readonly team: string | undefined;
}

export async function up(ctx: Context, folder: string, options: UpOptions): Promise<number> {
  if (options.image === undefined && options.port !== undefined)
    throw new UsageError("--port says where the program of an image listens.", "Add --image NAME.");
  if (options.image === undefined && options.follow)
    throw new UsageError("--follow is about the tag of an image.", "Add --image NAME, or `x-berth: { follow: true }` in the Compose file.");
  if (options.image !== undefined && options.file.length > 0)
    throw new UsageError("--image and --file say two things.", "Name the image in the Compose file, or leave that out.");
  const stack = await stackOf(ctx, folder, options.file);
  const plan = await makePlan(ctx, {
    stack,
    folder,
    composeFiles: options.file,
    profiles: options.profile,
    component: ctx.settings.component,
    overrides: overridesOf(options),
    runEnv: options.runEnv,
    cluster: options.cluster,
    team: options.team,
    ...(options.prune ? { prune: true } : {}),
  });
  for (const line of planLines(plan, ctx.out.errPaint)) ctx.out.progress(line);
  await confirmLoss(ctx, plan);
  const deployment = await (
    await ctx.api()
  ).applyPlan({ params: { stack, plan: plan.id }, body: options.restart ? { restartUnchanged: true } : {} }, { signal: ctx.signal });
  if (ctx.out.json) ctx.out.object(deployment);
  ctx.out.progress("");
  const exitCode = await follow(ctx, deployment, "released", deployment.unchanged);
  if (ctx.settings.wait) sayNext(ctx, plan, stack);
  return exitCode;
}

/** The stack that a folder is deployed to. */
export async function stackOf(ctx: Context, folder: string, composeFiles: readonly string[]): Promise<string> {
  if (ctx.settings.stackGiven && ctx.settings.stack !== undefined) return ctx.settings.stack;
  return (await findProjectFile(folder))?.stack ?? (await guessStack(folder, ctx.surroundings.variable, composeFiles)).stack;
}

function overridesOf(options: UpOptions): PlanRequest["overrides"] {
  const { kind, start, process, replicas, image, port, follow: follows } = options;
  const overrides = {
    ...(kind === undefined ? {} : { kind }),
    ...(start === undefined ? {} : { command: { shell: start } }),
    ...(process === undefined ? {} : { process }),
    ...(image === undefined ? {} : { image }),
    ...(follows ? { follow: true } : {}),
    ...(port === undefined ? {} : { ports: [{ name: "http", protocol: "http" as const, port }] }),
    ...(replicas === undefined ? {} : { replicas }),
  };
  return Object.keys(overrides).length === 0 ? undefined : overrides;
}

/** What a plan creates or changes can be rolled back; what it removes is asked about. */
async function confirmLoss(ctx: Context, plan: StackPlan): Promise<void> {
  const removed = plan.changes.filter((change) => change.action === "delete").map((change) => change.component);
  if (removed.length > 0)
    await ctx.confirm(`Removing ${removed.join(", ")}`, `Remove ${removed.join(", ")} from stack ${plan.stack}? Volumes stay.`);
}

function sayNext(ctx: Context, plan: StackPlan, stack: string): void {
  const web = plan.changes.find((change) => change.urls.length > 0)?.component;
  ctx.out.progress("");
  for (const [line, what] of [
    ...(web === undefined ? [] : [[`berth open -s ${stack} -c ${web}`, "open it in a browser"]]),
    [`berth logs -f -s ${stack}`, "what the components print"],
    [`berth status -s ${stack}`, "how they are"],
  ])
    ctx.out.progress(`  ${line}  ${ctx.out.errPaint.dim(`# ${what}`)}`);
}
