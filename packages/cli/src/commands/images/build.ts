// `berth images build`: passed on to the server's own program, which has the daemon, the machine's apt and the catalogue.
import { defineCommand, rest } from "../../command.ts";

export const command = defineCommand({
  path: ["images", "build"],
  scope: "none",
  raw: true,
  summary: "Make base images from Debian packages, on the server's machine",
  description:
    "As root, on a Debian with debootstrap, where instances are containers. Packages come from the machine's own apt sources. Without names those that were made before, all of them the first time. A base whose packages are the same stays as it is; another one gets a new version, which builds use from then on, and the components that still run on the old one are named.",
  arguments: { rest: rest("names (debian, node, python, go, java), --force, --sources <file>, --suite <name>, --json") },
  examples: [
    ["berth images build", "again: what has changed since"],
    ["berth images build node python", "only these, and the operating system below them if it is missing"],
  ],
  async run(_ctx, input) {
    const { delegate } = await import("../../localserver.ts");
    return delegate(["images", "build", ...input.arguments.rest]);
  },
});
