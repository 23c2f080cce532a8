// `berth tokens create`
import { defineCommand, required, texts, time } from "../../command.ts";

export const command = defineCommand({
  path: ["tokens", "create"],
  scope: "none",
  summary: "Create a token; it is shown this once",
  arguments: { name: required("what it is for") },
  options: {
    scopes: texts("--scope <permission>", "only this permission; repeatable; default: all of yours"),
    expires: time("--expires <duration>", "ends after this long: 30d, 12h"),
  },
  examples: [["berth tokens create ci --scope releases.deploy --scope stacks.read --expires 90d", "for a pipeline"]],
  async run(ctx, { arguments: { name }, options: { scopes, expires } }) {
    const answer = await (
      await ctx.api()
    ).createToken(
      {
        body: {
          name,
          ...(scopes.length === 0 ? {} : { scopes: [...scopes] }),
          ...(expires === undefined ? {} : { expiresIn: Math.round(expires / 1000) }),
        },
      },
      { signal: ctx.signal },
    );
    if (ctx.out.json) return ctx.out.object(answer);
    ctx.out.note("Keep it now; it is not shown again.");
    ctx.out.line(answer.secret);
  },
});
