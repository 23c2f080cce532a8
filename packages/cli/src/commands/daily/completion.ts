// `berth completion`
import { defineCommand, required } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { nearest } from "../../nearest.ts";

export const command = defineCommand({
  path: ["completion"],
  scope: "none",
  summary: "Print the completion script of a shell",
  description:
    'bash: add `source <(berth completion bash)` to ~/.bashrc. zsh: `berth completion zsh > "${fpath[1]}/_berth"`, or add `source <(berth completion zsh)` to ~/.zshrc after compinit. fish: `berth completion fish > ~/.config/fish/completions/berth.fish`. Names of stacks and components are asked from the server as you type.',
  arguments: { shell: required("bash, zsh or fish", ["bash", "zsh", "fish"]) },
  examples: [
    ["source <(berth completion bash)", "for this shell"],
    ["berth completion fish > ~/.config/fish/completions/berth.fish", "for every fish"],
  ],
  async run(ctx, input) {
    const { scripts } = await import("../../completion/scripts.ts");
    const { shell } = input.arguments;
    const script = shell in scripts ? scripts[shell as keyof typeof scripts] : undefined;
    if (script === undefined)
      throw new UsageError(
        `There is no completion for \`${shell}\`.`,
        `Possible: ${Object.keys(scripts).join(", ")}${nearest(shell, Object.keys(scripts)) === undefined ? "" : `; did you mean ${nearest(shell, Object.keys(scripts))}?`}.`,
      );
    await ctx.out.write(script);
  },
});
