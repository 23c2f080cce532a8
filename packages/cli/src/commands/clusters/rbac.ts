// `berth clusters rbac`: needs no server, since it comes before one has a cluster.
import { clusterRights, kubeconfigLines, ownNamespace } from "@berth/contract/clusterrights.ts";
import { defineCommand, flag, text, texts } from "../../command.ts";
import { UsageError } from "../../failure.ts";

export const command = defineCommand({
  path: ["clusters", "rbac"],
  scope: "none",
  summary: "Print the least rights that Berth needs in a Kubernetes cluster",
  description:
    "An account, what it may read across the cluster (no Secret), and a role that Berth binds to itself in each namespace that it makes for a stack. The comment at the top says how to get a kubeconfig from it. Kubernetes 1.30 or newer.",
  options: {
    namespace: text("--namespace <name>", "where the account lives; berth-system if left out"),
    account: text("--account <name>", "the account's name; berth if left out"),
    import: texts(
      "--import <namespace>",
      "what is in this namespace, which others made, is to be imported (`berth import`); may be said several times",
    ),
    builder: flag("--builder", "images are built in the cluster, too (`berth clusters add --builder`)"),
  },
  examples: [
    ["berth clusters rbac | kubectl apply -f -", "as an administrator of the cluster"],
    ["berth clusters rbac --namespace ci --account berth-staging > rights.yaml", "to read them first"],
  ],
  async run(ctx, { options }) {
    const who = { namespace: named(options.namespace ?? ownNamespace, 63), account: named(options.account ?? "berth", 120) };
    const rights = clusterRights({
      ...who,
      builder: options.builder === true,
      imports: (options.import ?? []).map((one) => named(one, 63)),
    });
    if (ctx.out.json) return ctx.out.object({ apiVersion: "v1", kind: "List", items: rights });
    const { stringify } = await import("yaml");
    const comments = [
      "What Berth needs in a cluster, and nothing more: kubectl apply -f this. Then a kubeconfig of the account, in berth.kubeconfig:",
      ...kubeconfigLines(who),
    ];
    const documents = rights.map((one) => stringify(one, { lineWidth: 0, aliasDuplicateObjects: false }));
    await ctx.out.write(`${comments.map((line) => `# ${line}\n`).join("")}${documents.join("---\n")}`);
  },
});

/** A DNS label, so that the account with its namespace is one in names of objects too. */
function named(name: string, most: number): string {
  if (name.length <= most && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name)) return name;
  throw new UsageError(
    `${JSON.stringify(name)} can be no name in a cluster.`,
    "Use lower-case letters, digits and single dashes between them.",
  );
}
