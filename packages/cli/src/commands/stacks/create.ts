// `berth stacks create`
import { defineCommand, required, text } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["stacks", "create"],
  scope: "none",
  summary: "Create an empty stack",
  description: "`berth up` creates the stack that it needs by itself; this is for setting config and secrets before the first release.",
  arguments: { name: required("a DNS label: lower-case letters, digits and single dashes") },
  options: {
    team: text("--team <team>", "the team that owns it"),
    cluster: text("--cluster <cluster>", "where it runs"),
    runEnv: text("--run-env <name>", "injected into every component as RUN_ENV"),
  },
  examples: [["berth stacks create shop-staging --run-env staging", "an empty stack whose components see RUN_ENV=staging"]],
  async run(ctx, { arguments: { name }, options: { team, cluster, runEnv } }) {
    const stack = await (
      await ctx.api()
    ).createStack(
      {
        body: {
          name,
          ...(team === undefined ? {} : { team }),
          ...(cluster === undefined ? {} : { cluster }),
          ...(runEnv === undefined ? {} : { runEnv }),
        },
      },
      { signal: ctx.signal },
    );
    done(ctx, stack, `Stack ${stack.name} was created.`);
  },
});
