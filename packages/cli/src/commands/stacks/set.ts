// `berth stacks set`
import { etagOf } from "@berth/contract/client-etag.ts";
import { choice, defineCommand, optional, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["stacks", "set"],
  scope: "stack",
  summary: "Change a stack",
  arguments: { stack: optional("the stack, instead of -s", "stack") },
  options: {
    runEnv: text("--run-env <name>", "injected into every component as RUN_ENV, from its next release on"),
    drift: choice(
      "--drift <what>",
      "changes that somebody makes by hand in the cluster: `repair` takes them back, `report` only shows them",
      ["repair", "report"],
    ),
  },
  examples: [
    ["berth stacks set shop --run-env staging", "RUN_ENV of the stack's next releases"],
    ["berth stacks set shop --drift report", "leave what somebody changes with kubectl"],
  ],
  async run(ctx, input) {
    const { runEnv, drift } = input.options;
    if (runEnv === undefined && drift === undefined) throw new UsageError("Nothing to change was named.", "Name --run-env or --drift.");
    const params = { stack: input.arguments.stack ?? (await ctx.stack()) };
    const api = await ctx.api();
    const before = await api.showStack({ params }, { signal: ctx.signal });
    const stack = await api.updateStack(
      { params, body: { ...(runEnv === undefined ? {} : { runEnv }), ...(drift === undefined ? {} : { drift }) } },
      { signal: ctx.signal, ifMatch: etagOf(before) },
    );
    done(ctx, stack, `Stack ${stack.name} was changed.`);
  },
});
