// `berth components set`
import { readFile } from "node:fs/promises";
import { ApiError } from "@berth/contract/client-errors.ts";
import { etagOf } from "@berth/contract/client-etag.ts";
import { choice, defineCommand, optional, text, texts } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["components", "set"],
  scope: "component",
  summary: "Create a component, or change what it should be",
  description:
    "The change takes effect with the component's next release (`berth deploy`). --set takes a path of the spec and a JSON value or a text; --file replaces the whole spec.",
  arguments: { component: optional("the component, instead of -c", "component") },
  options: {
    set: texts("--set <path=value>", "set one field; repeatable"),
    unset: texts("--unset <path>", "remove one field; repeatable"),
    file: text("-f, --file <file>", "the whole spec as JSON, `-` for stdin", "file"),
    kind: choice("--kind <kind>", "the kind of a new component", ["web", "worker", "stateful", "cron", "addon"]),
  },
  examples: [
    ["berth components set web --set gracePeriod=30000 --set resources.memory=536870912", "30 s to end in, 512 MiB"],
    ["berth components set clock --kind cron --set schedule.cron='0 3 * * *' --set process=clock", "a new cron component"],
    ["berth components show web --json | jq .spec > spec.json && berth components set web --file spec.json", "edit all of it"],
  ],
  async run(ctx, { arguments: { component }, options }) {
    const api = await ctx.api();
    const params = await ctx.inComponent(component);
    const { defaultSpec } = await import("@berth/contract/spec.ts");
    const { changedSpec, readSpec } = await import("../../view/spec.ts");
    const before = await api.showComponent({ params }, { signal: ctx.signal }).catch((error: unknown) => {
      if (
        error instanceof ApiError &&
        error.code === "not_found" &&
        error.params["kind"] === "component" &&
        (options.kind !== undefined || options.file !== undefined)
      )
        return undefined;
      throw error;
    });
    if (options.file === undefined && options.kind === undefined && options.set.length + options.unset.length === 0)
      throw new UsageError("Nothing to change was named.", "Name --set, --unset, --kind or --file.");
    const given =
      options.file === undefined
        ? undefined
        : readSpec(options.file === "-" ? await ctx.prompt.readAll() : await readFile(options.file, "utf8"), options.file);
    const base = given ?? before?.spec ?? defaultSpec(options.kind ?? "web");
    const spec = changedSpec(options.kind === undefined ? base : { ...base, kind: options.kind }, options.set, options.unset);
    const answer = await api.setComponent(
      { params, body: spec },
      { signal: ctx.signal, ifMatch: before === undefined ? undefined : etagOf(before) },
    );
    done(
      ctx,
      answer,
      `Component ${answer.name} was ${before === undefined ? "created" : "changed"}; \`berth deploy -c ${answer.name}\` releases it.`,
    );
  },
});
