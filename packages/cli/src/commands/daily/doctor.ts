// `berth doctor`
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  path: ["doctor"],
  scope: "none",
  summary: "What is wrong, on this machine and in the server",
  description:
    "Each thing that is wrong with what it means and what to do. Works with the server down, too: then it looks at the home folder of this machine. Exit code 1 when something is broken.",
  examples: [["berth doctor", "every check, with what to do about it"]],
  async run(ctx) {
    const { doctor } = await import("../../doctor.ts");
    return doctor(ctx);
  },
});
