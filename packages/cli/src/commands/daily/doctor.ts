// `berth doctor`
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  path: ["doctor"], scope: "none", summary: "What is wrong, on this machine and in the server",
  description: "Works with the server down, too: then it looks at what can be seen from here. Exit code 1 when something failed.",
  examples: [["berth doctor", "every check, with what to do about it"]],
  async run(ctx) {
    const { doctor } = await import("../../doctor.ts");
    return doctor(ctx);
  },
});
