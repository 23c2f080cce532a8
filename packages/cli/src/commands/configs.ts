// Config of a stack or of one component: -c decides which. Reading and changing are the same for both.
import { etagOf } from "@berth/contract/client-etag.ts";
import type { Config } from "@berth/contract/resources/config.ts";
import type { Context } from "../context.ts";
import { UsageError } from "../failure.ts";
import { done } from "./shown.ts";

async function read(ctx: Context, stack: string, component: string | undefined): Promise<Config> {
  const api = await ctx.api();
  return component === undefined
    ? api.showStackConfig({ params: { stack } }, { signal: ctx.signal })
    : api.showConfig({ params: { stack, component } }, { signal: ctx.signal });
}

export async function showConfig(ctx: Context, shell: boolean): Promise<void> {
  const stack = await ctx.stack();
  const config = await read(ctx, stack, ctx.settings.component);
  if (ctx.out.json) return ctx.out.object(config);
  const rows = Object.entries(config.values).sort(([a], [b]) => (a < b ? -1 : 1));
  if (shell)
    return ctx.out.lines(
      rows.map(([name, value]) => `${name}=${/^[\w@%+=:,./-]*$/.test(value) ? value : `'${value.replaceAll("'", String.raw`'\''`)}'`}`),
    );
  if (rows.length === 0) return ctx.out.note(ctx.say("nothing", { what: `config values of ${ctx.settings.component ?? stack}` }));
  ctx.out.table(
    [
      { title: "NAME", of: ([name]) => name, style: ctx.out.paint.bold, shrink: 1 },
      { title: "VALUE", of: ([, value]) => value.replaceAll("\n", "\\n"), shrink: 3 },
    ],
    rows,
  );
}

/** Changes on top of what was read, so that two people who change different things at once do not undo each other. */
export async function changeConfig(ctx: Context, values: Readonly<Record<string, string | null>>, deploy: boolean): Promise<number> {
  const api = await ctx.api();
  const stack = await ctx.stack();
  const { component } = ctx.settings;
  const before = await read(ctx, stack, component);
  const options = { signal: ctx.signal, ifMatch: etagOf(before) };
  const body = { values: { ...values }, deploy };
  const config =
    component === undefined
      ? await api.updateStackConfig({ params: { stack }, body }, options)
      : await api.updateConfig({ params: { stack, component }, body }, options);
  const what = `Config of ${component ?? stack} is at version ${config.version}`;
  done(
    ctx,
    config,
    deploy ? `${what}, and is being released; \`berth rollouts watch -s ${stack}\` follows.` : `${what}; \`berth deploy\` puts it live.`,
  );
  return 0;
}

export function parsePairs(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, value] = /^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(text) ?? [];
      if (name === undefined || value === undefined) throw new UsageError(`\`${text}\` is not NAME=value.`);
      return [name, /^(["']).*\1$/s.test(value) ? value.slice(1, -1) : value] as const;
    }),
  );
}
