// Reading and following logs of one component, several, or a whole stack.
import { when } from "../output/time.ts";
import type { Context } from "../context.ts";
import { labelOf } from "../follow/model.ts";
import { widthOf } from "../output/width.ts";
import { prefixedLog, speaker } from "./logs.ts";

export interface LogOptions {
  readonly follow: boolean;
  readonly tail: number | undefined;
  readonly since: string | undefined;
  readonly instance: string | undefined;
  readonly cluster: string | undefined;
  readonly timestamps: boolean;
}

const usualTail = 200;

export async function showLogs(ctx: Context, named: readonly string[], options: LogOptions): Promise<void> {
  const api = await ctx.api();
  const stack = await ctx.stack();
  const wanted = named.length > 0 ? named : ctx.settings.component === undefined ? [] : [ctx.settings.component];
  const query = {
    follow: options.follow,
    tail: options.tail ?? (options.since === undefined ? usualTail : undefined),
    since: options.since,
    instance: options.instance,
    cluster: options.cluster,
  };
  const settings = {
    signal: ctx.signal,
    onReconnect: () => {
      ctx.out.note("The connection broke; connecting again ...");
    },
  };
  const [only] = wanted;
  const stream =
    wanted.length === 1 && only !== undefined
      ? api.readLogs({ params: { stack, component: only }, query }, settings)
      : api.readStackLogs({ params: { stack }, query }, settings);
  // A component's name is known before its first line only when it was asked for.
  let width = Math.max(0, ...wanted.map(widthOf));
  const instances = new Map<string, Set<string>>();
  let lines = 0;
  for await (const { data } of stream) {
    const component = data.component ?? only ?? stack;
    if (wanted.length > 1 && !wanted.includes(component)) continue;
    const label = labelOf({ component, cluster: data.cluster });
    const who = speaker(label, component, several(instances, label, data.instance) ? data.instance : undefined);
    width = Math.max(width, widthOf(who));
    const text = ctx.out.json
      ? JSON.stringify(data)
      : prefixedLog(data, { out: ctx.out, who, component, width, time: options.timestamps ? when(data.at) : undefined });
    await ctx.out.write(`${text}\n`);
    lines += 1;
  }
  if (lines === 0) ctx.out.note(ctx.say("nothing", { what: `log lines of ${wanted.length === 0 ? stack : wanted.join(", ")}` }));
}

/** Whether a component has shown more than one instance in its cluster: then lines say which. */
function several(instances: Map<string, Set<string>>, label: string, instance: string): boolean {
  const known = instances.get(label) ?? new Set<string>();
  instances.set(label, known.add(instance));
  return known.size > 1;
}
