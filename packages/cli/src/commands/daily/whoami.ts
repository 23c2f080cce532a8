// `berth whoami`
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["whoami"],
  scope: "none",
  summary: "Who you are to the server, and what you may do",
  examples: [["berth whoami", "user, teams and permissions"]],
  async run(ctx) {
    const me = await (await ctx.api()).showMe({}, { signal: ctx.signal });
    showObject(ctx, me, [
      ["user", ctx.out.paint.bold(me.user.name)],
      ["server", ctx.settings.serverUrl],
      [
        "token",
        me.token === undefined
          ? undefined
          : `${me.token.name}${me.token.expiresAt === undefined ? "" : `, ends ${ago(me.token.expiresAt, ctx.now())}`}`,
      ],
      ["teams", me.teams.map((team) => `${team.name} (${team.roles.join(", ")})`).join("\n") || "-"],
      ["may", me.permissions.join(", ")],
    ]);
  },
});
