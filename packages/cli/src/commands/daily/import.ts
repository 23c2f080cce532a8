// `berth import`
import type { ImportItem } from "@berth/contract/resources/imports.ts";
import { renderNote } from "@berth/contract/notes.ts";
import { defineCommand, flag, rest, text } from "../../command.ts";
import type { Context } from "../../context.ts";
import { exitCodes, UsageError } from "../../failure.ts";

export const command = defineCommand({
  path: ["import"],
  scope: "none",
  asks: true,
  summary: "Take over what others made in a namespace of a cluster, as it runs",
  description:
    "Deployments with their Services, and the variables that they take from ConfigMaps and Secrets, become components of a stack. No pod is restarted: they keep their names and their pods until the component's next release, which moves the traffic to pods of Berth's own and then removes them. It shows first what becomes of each, and what cannot be imported and why. It takes the rights that `berth clusters rbac --import NAMESPACE` prints.",
  arguments: { from: rest("cluster and namespace, then the objects that are meant, as in deployment/web; all that can be, if left out") },
  options: {
    name: text("--name <stack>", "what the new stack is called; as the namespace, if left out"),
    managed: flag("--managed", "also what another tool, such as Helm, manages"),
    dryRun: flag("--dry-run", "only show what would be done"),
  },
  examples: [
    ["berth import prod/shop --dry-run", "what would become of what is in namespace shop of cluster prod"],
    ["berth import prod/shop", "see it, then agree"],
    ["berth import prod/shop deployment/web --name shop-next --yes", "one Deployment, into a stack of another name"],
  ],
  async run(ctx, { arguments: { from }, options }) {
    const [place = "", ...only] = from;
    const [cluster = "", namespace = "", more] = place.split("/");
    if (namespace === "" || cluster === "" || more !== undefined)
      throw new UsageError(`${JSON.stringify(place)} names no namespace of a cluster.`, "Write CLUSTER/NAMESPACE, as in prod/shop.");
    const body = {
      cluster,
      namespace,
      ...(options.name === undefined ? {} : { stack: options.name }),
      ...(only.length === 0 ? {} : { only }),
      ...(options.managed === true ? { managed: true } : {}),
    };
    const api = await ctx.api();
    const plan = await api.importNamespace({ body: { ...body, dryRun: true } }, { signal: ctx.signal });
    const possible = plan.items.filter(({ state }) => state === "possible");
    const refused = plan.items.filter(({ state }) => state === "refused");
    const isOver = options.dryRun === true || possible.length === 0 || (only.length > 0 && refused.length > 0);
    if (!ctx.out.json) {
      if (plan.items.length === 0) ctx.out.note(ctx.say("import_nothing", { place }));
      show(ctx, plan.items);
    } else if (isOver) ctx.out.object(plan);
    // Whoever named objects wants all of them; else what cannot be imported is only told.
    if (isOver) return refused.length > 0 && (only.length > 0 || possible.length === 0) ? exitCodes.failed : exitCodes.done;
    await ctx.confirm(
      `Importing ${String(possible.length)} component(s)`,
      `Take over ${String(possible.length)} component(s) into stack ${plan.stack} as they run?`,
    );
    const done = await api.importNamespace({ body }, { signal: ctx.signal });
    const left = done.items.filter(({ name, state }) => state !== "imported" && possible.some((one) => one.name === name));
    if (ctx.out.json) ctx.out.object(done);
    else {
      for (const { name, state, instances } of done.items)
        if (state === "imported")
          ctx.out.line(ctx.say("import_done", { component: `${done.stack}/${name}`, count: String(instances ?? 0) }));
      show(ctx, left);
    }
    return left.length > 0 ? exitCodes.failed : exitCodes.done;
  },
});

function show(ctx: Context, items: readonly ImportItem[]): void {
  const { paint } = ctx.out;
  const line = (what: string, said: string | undefined): void => {
    if (said !== undefined && said !== "") ctx.out.line(`  ${what.padEnd(12)}${said}`);
  };
  for (const { kind, name, state, instances, image, services, config, spec, notes } of items) {
    const how =
      state === "refused"
        ? paint.bad("cannot be imported")
        : state === "known"
          ? paint.dim("is in the stack")
          : paint.good("can be imported");
    ctx.out.line(`${paint.bold(name)}  ${kind}${instances === undefined ? "" : `, ${String(instances)} pod(s)`}: ${how}`);
    line("image", image);
    line("ports", spec?.ports.map(({ name: port, port: number }) => `${port} ${String(number ?? "")}`).join(", "));
    line("services", services.join(", "));
    line("variables", Object.keys(spec?.env ?? {}).join(", "));
    line("config", config.join(", "));
    line(
      "secrets",
      Object.entries(spec?.secrets ?? {})
        .map(([variable, secret]) => `${variable} = ${secret}`)
        .join(", "),
    );
    line(
      "health",
      Object.entries(spec?.probes ?? {})
        .map(([probe, { check }]) => `${probe} by ${check.type}`)
        .join(", "),
    );
    line(
      "limits",
      [spec?.resources.memory && `${String(spec.resources.memory)} bytes`, spec?.resources.cpu && `${String(spec.resources.cpu)} cores`]
        .filter(Boolean)
        .join(", "),
    );
    line("as it is", spec?.kubernetes === undefined ? undefined : leaves(spec.kubernetes.Deployment).join(", "));
    for (const one of notes) ctx.out.line(`  ${renderNote(one)}`);
  }
}

/** Which parts of the template of pods go along in the cluster's own words. */
function leaves(overlay: unknown): string[] {
  const { template } =
    (overlay as { readonly spec?: { readonly template?: { readonly metadata?: object; readonly spec?: object } } }).spec ?? {};
  return [...Object.keys(template?.metadata ?? {}), ...Object.keys(template?.spec ?? {})];
}
