// `npm run demo`: starts Berth, deploys the guestbook from source, fetches every public URL itself, and goes. `--down` takes all of it away.
// Uses only the command line that a user has. Must never delete anything that the demo did not make.
import process from "node:process";
import { parseArgs } from "node:util";
import { createProgress } from "./progress.mjs";
import { ConfigError } from "../packages/server/src/config-values.ts";
import { fromFileSystem } from "../packages/server/src/server/refusal.ts";
import { DemoError } from "./demo/berth.ts";
import { defaultDomain, type DemoCluster } from "./demo/cluster.ts";
import type { DemoEngine } from "./demo/engine.ts";
import { takeDown } from "./demo/down.ts";
import { bringUp } from "./demo/up.ts";

const given = process.argv.slice(2);
const args = given.filter((arg) => !arg.startsWith("--started="));
/** When the command was given: installing and building count, too. */
const started = Number(given.find((arg) => arg.startsWith("--started="))?.slice("--started=".length) ?? Date.now());
const progress = createProgress(process.stdout);
const chosen = choose();

/** undefined for what the demo does not know. Without an engine it is the one that the home has. */
function choose(): { readonly down: boolean; readonly engine: DemoEngine | undefined; readonly cluster: DemoCluster } | undefined {
  try {
    const texts = { engine: { type: "string" }, context: { type: "string" }, domain: { type: "string" } } as const;
    const { values } = parseArgs({ args, options: { down: { type: "boolean" }, ...texts } });
    const { engine, context, domain = defaultDomain } = values;
    if (engine !== undefined && engine !== "local" && engine !== "docker" && engine !== "kubernetes") return undefined;
    return { down: values.down === true, engine, cluster: { context, domain } };
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

if (args.includes("--help") || args.includes("-h")) {
  progress.line(
    "npm run demo                        starts Berth and deploys the sample stack as processes\nnpm run demo -- --engine docker     the same as containers of this machine's Docker\nnpm run demo -- --engine kubernetes the same in the cluster of your kubeconfig's current context, or of --context NAME, through BERTH_REGISTRY; --domain NAME if one leads there\nnpm run demo -- --down              stops and removes everything that the demo made",
  );
} else if (chosen === undefined) {
  progress.line(
    `Error: the demo does not know ${args.join(" ")}. It knows --down, --engine local, docker or kubernetes, and --context and --domain.`,
  );
  process.exitCode = 2;
} else {
  try {
    if (chosen.down) await takeDown(progress);
    else await bringUp(progress, started, chosen.engine, chosen.cluster);
  } catch (error) {
    const known = error instanceof DemoError || error instanceof ConfigError ? error : fromFileSystem(error, "Berth's home folder");
    if (known === undefined) throw error;
    progress.failure(known.message, known.hint, known instanceof DemoError ? known.output : "");
    process.exitCode = 1;
  }
}
