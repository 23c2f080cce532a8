// `berth up`
import { resolve } from "node:path";
import { choice, defineCommand, flag, integer, optional, text, texts } from "../../command.ts";

export const command = defineCommand({
  path: ["up"],
  scope: "component",
  waits: true,
  asks: true,
  summary: "Build and release the folder that you are in, and follow it to a working URL",
  description:
    "Reads compose.yaml (with its overrides and .env) or, without one, deploys the folder as one component. Shows what will change, does it, and ends when every component runs the new release and answered through the router. The stack is called like `name:` in the Compose file or like the folder, unless -s or .berth.json says otherwise. Removing a component (--prune) asks first; where nobody can be asked it needs --yes.",
  arguments: { folder: optional("the project's folder; default: this one", "folder") },
  options: {
    file: texts("-f, --file <file>", "a Compose file, from the project's folder; repeatable, later ones override", "file"),
    profile: texts("--profile <name>", "a profile of the Compose file; repeatable"),
    image: text("--image <name>", "run this image; nothing of the folder is read"),
    follow: flag("--follow", "with --image: roll out what its tag is moved to, when the registry says so (`berth webhooks`)"),
    port: integer("--port <n>", "with --image: where its program listens"),
    prune: flag("--prune", "remove components that the file no longer has"),
    cluster: text("--cluster <cluster>", "where a new stack runs; one that is there stays where it is"),
    team: text("--team <team>", "whose a new stack is"),
    runEnv: text("--run-env <name>", "injected into every component as RUN_ENV"),
    restart: flag("--restart-unchanged", "replace instances of unchanged components too"),
    kind: choice("--kind <kind>", "without a Compose file: the component's kind", ["web", "worker", "stateful", "cron"]),
    start: text("--start <command>", "without a Compose file: how it starts"),
    process: text("--process <name>", "without a Compose file: which process type of the Procfile runs"),
    replicas: integer("--replicas <n>", "without a Compose file: how many instances"),
  },
  examples: [
    ["berth up", "the folder that you are in"],
    ["berth up examples/guestbook -s guestbook-test", "another folder, as a stack of another name"],
    ["berth up --image nginx:1.28 --port 80 -s pages", "an image, as it is"],
    ["berth up --cluster fra1 -s shop", "a new stack on another cluster than the first"],
    ["berth up --prune --yes --timeout 10m", "in a pipeline"],
  ],
  async run(ctx, { arguments: { folder }, options }) {
    const { up } = await import("../../deploy/up.ts");
    return up(ctx, resolve(ctx.cwd, folder ?? "."), options);
  },
});
