// `berth releases show`
import { defineCommand, ordinal } from "../../command.ts";
import { when } from "../../output/time.ts";
import { specFacts } from "../../view/spec.ts";
import { showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["releases", "show"],
  scope: "component",
  summary: "Show a release",
  arguments: { release: ordinal("its number") },
  examples: [["berth releases show 12 -c web", "its artifact, config and spec; secrets by name only"]],
  async run(ctx, { arguments: { release: number } }) {
    const release = await (
      await ctx.api()
    ).showRelease({ params: { ...(await ctx.inComponent()), release: number } }, { signal: ctx.signal });
    showObject(ctx, release, [
      ["release", ctx.out.paint.bold(`v${release.number}`) + (release.current ? " (live)" : "")],
      ["component", release.component],
      ["stack", release.stack],
      ["made", `${when(release.createdAt)} by ${release.createdBy}`],
      ["reason", release.reason],
      ["revision", release.revision],
      ["message", release.message],
      ["build", release.build === undefined ? undefined : `#${release.build}`],
      [release.artifactKind, release.artifact],
      ["hash", release.hash],
      [
        "config",
        Object.entries(release.config)
          .map(([name, value]) => `${name}=${value}`)
          .join("\n") || "-",
      ],
      [
        "secrets",
        Object.entries(release.secrets)
          .map(([name, ref]) => `${name} = ${ref.secret} (version ${ref.version})`)
          .join("\n") || "-",
      ],
      ...specFacts(release.spec),
    ]);
  },
});
