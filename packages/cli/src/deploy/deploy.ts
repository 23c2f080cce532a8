// `berth deploy`: one component from a folder, git, a stored source, or again as it is.
import { join } from "node:path";
import type { Context } from "../context.ts";
import { UsageError } from "../failure.ts";
import { follow } from "../follow/follow.ts";
import { uploadFolder } from "../pack/upload.ts";
import { guessStack } from "../project.ts";

export interface DeployOptions {
  readonly again: boolean;
  readonly source: string | undefined;
  readonly git: string | undefined;
  readonly ref: string | undefined;
  readonly credential: string | undefined;
  readonly context: string | undefined;
}
interface In { readonly stack: string; readonly component: string }

export async function deploy(ctx: Context, folder: string | undefined, options: DeployOptions): Promise<number> {
  const ways = [folder !== undefined && "a folder", options.again && "--again", options.source !== undefined && "--source", options.git !== undefined && "--git"].filter((way) => way !== false);
  if (ways.length > 1) throw new UsageError(`${ways.join(" and ")} cannot be meant together.`);
  const params = await ctx.inComponent();
  const api = await ctx.api();
  const source = options.again ? undefined : options.source ?? await fetched(ctx, params, options) ?? await uploaded(ctx, params, folder);
  const deployment = await api.deployComponent({ params, body: { ...(source === undefined ? {} : { source }), ...(options.context === undefined ? {} : { context: options.context }) } }, { signal: ctx.signal });
  if (ctx.out.json) ctx.out.object(deployment);
  return follow(ctx, deployment, "released", deployment.unchanged);
}

async function fetched(ctx: Context, { stack }: In, { git, ref, credential }: DeployOptions): Promise<string | undefined> {
  if (git === undefined) return undefined;
  ctx.out.progress(`Fetching ${git} ...`);
  const source = await (await ctx.api()).fetchSource({ params: { stack }, body: { url: git, ...(ref === undefined ? {} : { ref }), ...(credential === undefined ? {} : { credential }) } }, { signal: ctx.signal });
  return source.digest;
}

/** In a project's folder a component is built from its own context; anywhere else from where one is. */
async function uploaded(ctx: Context, params: In, folder: string | undefined): Promise<string> {
  const component = await (await ctx.api()).showComponent({ params }, { signal: ctx.signal });
  const context = component.spec.build?.context ?? ".";
  const from = folder ?? ((await guessStack(ctx.cwd)).compose ? join(ctx.cwd, context) : ctx.cwd);
  return (await uploadFolder(ctx, params.stack, from)).digest;
}
