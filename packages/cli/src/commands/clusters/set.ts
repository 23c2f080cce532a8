// `berth clusters set`
import { defineCommand, required, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { done } from "../shown.ts";
import { kubeconfigIn } from "../kubeconfig.ts";

export const command = defineCommand({
  path: ["clusters", "set"],
  scope: "none",
  summary: "Give a Kubernetes cluster another kubeconfig",
  description:
    "For one whose certificate or token has expired, or whose address or authority is another one. It is asked first whether it is the same cluster; what runs there is not touched.",
  arguments: { cluster: required("its name") },
  options: {
    kubeconfig: text("--kubeconfig <file>", "with certificates and tokens inline; - reads standard input"),
    context: text("--context <name>", "of the kubeconfig; its current one if left out"),
  },
  examples: [["berth clusters set prod --kubeconfig berth.kubeconfig", "its token had expired"]],
  async run(ctx, { arguments: { cluster }, options: { kubeconfig, context } }) {
    if (kubeconfig === undefined) throw new UsageError("What is to be set?", "Name a kubeconfig: --kubeconfig FILE.");
    const kubernetes = { kubeconfig: await kubeconfigIn(ctx, kubeconfig), ...(context === undefined ? {} : { context }) };
    const changed = await (await ctx.api()).changeCluster({ params: { cluster }, body: { kubernetes } }, { signal: ctx.signal });
    done(ctx, changed, `${cluster} is reached as the kubeconfig says from now on.`);
  },
});
