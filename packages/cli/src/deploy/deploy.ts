// `berth deploy`: one component from a folder, git, a stored source, or again as it is.
import { realpath } from "node:fs/promises";
import { join, sep } from "node:path";
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
interface In {
  readonly stack: string;
  readonly component: string;
}

export async function deploy(ctx: Context, folder: string | undefined, options: DeployOptions): Promise<number> {
  const ways = [
    folder !== undefined && "a folder",
    options.again && "--again",
    options.source !== undefined && "--source",
    options.git !== undefined && "--git",
  ].filter((way) => way !== false);
  if (ways.length > 1) throw new UsageError(`${ways.join(" and ")} cannot be meant together.`);
  const params = await ctx.inComponent();
  const api = await ctx.api();
  const given = options.again ? undefined : (options.source ?? (await fetched(ctx, params, options)));
  const upload = options.again || given !== undefined ? undefined : await uploaded(ctx, params, folder);
  const source = given ?? upload?.source;
  const root = upload?.root ?? options.context;
  const deployment = await api.deployComponent(
    {
      params,
      body: {
        ...(source === undefined ? {} : { source }),
        ...(options.context === undefined ? {} : { context: options.context }),
        ...(root === undefined ? {} : { root }),
      },
    },
    { signal: ctx.signal },
  );
  if (ctx.out.json) ctx.out.object(deployment);
  return follow(ctx, deployment, "released", deployment.unchanged);
}

async function fetched(ctx: Context, { stack }: In, { git, ref, credential }: DeployOptions): Promise<string | undefined> {
  if (git === undefined) return undefined;
  ctx.out.progress(`Fetching ${git} ...`);
  const source = await (
    await ctx.api()
  ).fetchSource(
    { params: { stack }, body: { url: git, ...(ref === undefined ? {} : { ref }), ...(credential === undefined ? {} : { credential }) } },
    { signal: ctx.signal },
  );
  return source.digest;
}

/** In a project's folder a component is built from its own context; anywhere else from where one is. One that was built as part of its workspace is sent with it again. */
async function uploaded(
  ctx: Context,
  params: In,
  folder: string | undefined,
): Promise<{ readonly source: string; readonly root?: string }> {
  const api = await ctx.api();
  const component = await api.showComponent({ params }, { signal: ctx.signal });
  const context = component.spec.build?.context ?? ".";
  const given = folder ?? ((await guessStack(ctx.cwd, ctx.surroundings.variable)).compose ? join(ctx.cwd, context) : ctx.cwd);
  const from = await realpath(given).catch(() => given);
  const { items } = await api.listBuilds(
    { params: { stack: params.stack }, query: { phase: "succeeded", limit: 50 } },
    { signal: ctx.signal },
  );
  const root = items.find((build) => build.context === context)?.root;
  if (root === undefined || !from.endsWith(sep + root.split("/").join(sep)))
    return { source: (await uploadFolder(ctx, params.stack, from)).digest };
  const whole = from.slice(0, from.length - root.length - 1);
  return { source: (await uploadFolder(ctx, params.stack, whole, `all of ${whole}, which ${root} belongs to`)).digest, root };
}
