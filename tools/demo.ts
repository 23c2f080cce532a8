// `npm run demo`: starts Berth, deploys the guestbook from source, fetches every public URL itself, and goes. `--down` takes all of it away.
// Uses only the command line that a user has. Must never delete anything that the demo did not make.
import process from "node:process";
import { createProgress } from "./progress.mjs";
import { ConfigError } from "../packages/server/src/config-values.ts";
import { fromFileSystem } from "../packages/server/src/server/refusal.ts";
import { DemoError } from "./demo/berth.ts";
import { takeDown } from "./demo/down.ts";
import { bringUp } from "./demo/up.ts";

const given = process.argv.slice(2);
const args = given.filter((arg) => !arg.startsWith("--started="));
/** When the command was given: installing and building count, too. */
const started = Number(given.find((arg) => arg.startsWith("--started="))?.slice("--started=".length) ?? Date.now());
const progress = createProgress(process.stdout);

if (args.includes("--help") || args.includes("-h")) {
  progress.line(
    "npm run demo              starts Berth and deploys the sample stack\nnpm run demo -- --down    stops and removes everything that the demo made",
  );
} else if (args.some((arg) => arg !== "--down")) {
  progress.line(`Error: the demo does not know ${args.find((arg) => arg !== "--down")}. It knows --down.`);
  process.exitCode = 2;
} else {
  try {
    if (args.includes("--down")) await takeDown(progress);
    else await bringUp(progress, started);
  } catch (error) {
    const known = error instanceof DemoError || error instanceof ConfigError ? error : fromFileSystem(error, "Berth's home folder");
    if (known === undefined) throw error;
    progress.failure(known.message, known.hint, known instanceof DemoError ? known.output : "");
    process.exitCode = 1;
  }
}
