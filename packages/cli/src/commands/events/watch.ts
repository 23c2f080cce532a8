// `berth events watch`, and `berth events -f`
import { defineCommand, text } from "../../command.ts";
import { watchEvents } from "../watching.ts";

export const command = defineCommand({
  path: ["events", "watch"],
  scope: "component",
  summary: "Follow what happens",
  options: {
    topics: text("--topics <topics>", "comma-separated, e.g. `component:shop/*,build:shop/3`"),
    after: text("--after <id>", "begin after this event; `0` = from the beginning"),
  },
  examples: [
    ["berth events watch -s shop", "until Ctrl-C"],
    ["berth events watch --json --after 0", "everything from the beginning, one object a line"],
  ],
  async run(ctx, { options }) {
    await watchEvents(ctx, options);
  },
});
