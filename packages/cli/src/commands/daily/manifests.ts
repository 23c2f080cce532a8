// `berth manifests`
import { defineCommand, text } from "../../command.ts";

export const command = defineCommand({
  path: ["manifests"],
  scope: "component",
  summary: "Print the objects that a stack's releases are in its clusters",
  description:
    "On Kubernetes as YAML that kubectl reads, as Berth applies it; values of secrets are left out, and a comment names them. On other clusters, what their engine is told. Of the release that serves, or else of the one that is on its way. Of what runs in several clusters a comment names each.",
  options: { cluster: text("--cluster <cluster>", "only those in this cluster") },
  examples: [
    ["berth manifests -s shop", "all components"],
    ["berth manifests -s shop -c web | kubectl diff -f -", "what of it is otherwise in the cluster"],
    ["berth manifests -c web --cluster west", "of what runs in several clusters, one of them"],
    ["berth manifests --json", "the API's answer"],
  ],
  async run(ctx, { options }) {
    const stack = await ctx.stack();
    const { component } = ctx.settings;
    const answer = await (
      await ctx.api()
    ).showManifests({ params: { stack }, query: { component, cluster: options.cluster } }, { signal: ctx.signal });
    if (ctx.out.json) return ctx.out.object(answer);
    if (answer.objects.length === 0) return ctx.out.note(ctx.say("no_manifests", { stack }));
    const { stringify } = await import("yaml");
    const isKubernetes = answer.engine === "kubernetes";
    const documents = answer.objects.map(({ cluster, name, body, hidden }) => {
      const comments = [
        ...(cluster === undefined ? [] : [`in cluster ${cluster}`]),
        ...(isKubernetes ? [] : [name]),
        ...(hidden.length === 0 ? [] : [`left out: ${hidden.join(", ")}`]),
      ];
      // As YAML 1.1 reads it, which is what kubectl does.
      const text = stringify(body, { lineWidth: 0, aliasDuplicateObjects: false, version: "1.1" });
      return `${comments.map((line) => `# ${line}\n`).join("")}${text}`;
    });
    await ctx.out.write(documents.join("---\n"));
  },
});
