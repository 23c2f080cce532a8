// Brings the demo up: server, login, stack, and a look at every URL through the router. Each step finds what an earlier run left and goes on from there.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../packages/server/src/config.ts";
import { seconds, type Progress } from "../progress.mjs";
import { DemoError, ask, must, parse, root, show, stack } from "./berth.ts";
import { gatewayOf, settleInCluster, type DemoCluster } from "./cluster.ts";
import { fetchThrough } from "./fetch.ts";
import { checkEngine, haveBases, settleEngine, type DemoEngine } from "./engine.ts";
import { openRecord, places, readRecord, writeRecord, type Record_ } from "./record.ts";

interface ServerStatus {
  readonly running: boolean;
  readonly url?: string;
}
interface ComponentRow {
  readonly name: string;
  readonly urls: readonly string[];
}

/** `started`: epoch ms of the command; `wanted`: what instances are, if the command said so; `cluster`: which, where they are pods. */
export async function bringUp(progress: Progress, started: number, wanted: DemoEngine | undefined, cluster: DemoCluster): Promise<void> {
  const where = places();
  const before = readRecord(where.home)?.cluster === true ? "kubernetes" : readConfig().engine.kind;
  const engine = wanted ?? before;
  await checkEngine(engine, where);
  let record = openRecord(where);
  const keep = (change: Partial<Record_>): void => {
    record = { ...record, ...change };
    writeRecord(where.home, record);
  };

  if (record.from !== undefined && record.from !== root) {
    progress.note(
      `The demo of ${record.from} is in ${where.home} already. There is one Berth per home folder, so this one goes on with it, and --down in either of the two takes it away.`,
    );
    progress.line("  A second one beside it: BERTH_HOME=~/berth-demo npm run demo");
  }
  keep({ from: root });
  settleEngine(engine, where, record);
  await haveBases(progress);
  const url = await startServer(progress, record, keep);
  await signIn(progress, url);
  if (!record.stack && (await stackExists(url))) {
    throw new DemoError(
      `There is a stack ${stack} here already, and the demo did not make it.`,
      `To have the demo, remove or rename that one, or give the demo a home of its own: BERTH_HOME=~/berth-demo npm run demo`,
    );
  }
  keep({ stack: true });
  if (engine === "kubernetes") await settleInCluster(progress, url, cluster, () => keep({ cluster: true }));
  await deploy(progress, url, engine);
  const urls = await publicUrls(url);
  const gateway = engine === "kubernetes" ? await gatewayOf(url) : undefined;
  progress.line("");
  for (const address of urls) await lookAt(progress, address, gateway);
  progress.line(`\nDone in ${seconds(Date.now() - started)}. Berth goes on running; what to try next:\n`);
  if (gateway !== undefined) {
    const [host, port] = [gateway.host, String(gateway.port)];
    progress.line(`  No name server leads there by itself; the gateway is at ${host}:${port}. A page in a browser:`);
    suggest(progress, `./bin/berth forward -s ${stack} -c web 8000:http`, "http://127.0.0.1:8000, until Ctrl-C");
  }
  for (const [command, says] of suggestions) suggest(progress, command, says);
  progress.line("");
}

const suggest = (progress: Progress, command: string, says: string): void => progress.line(`  ${command.padEnd(62)}${progress.dim(says)}`);

const suggestions: readonly (readonly [string, string])[] = [
  [`./bin/berth status -s ${stack}`, "what runs, and since when"],
  [`./bin/berth logs -s ${stack} -f`, "all components, live (Ctrl-C ends it)"],
  [`./bin/berth scale web=3 -s ${stack}`, "then reload the page: the instance at its foot changes"],
  [`./bin/berth exec -s ${stack} -c api -- ls -l`, "a command inside a running instance"],
  [`./bin/berth releases list -s ${stack} -c web`, "immutable, and a rollback away"],
  ["cd examples/guestbook && ../../bin/berth up", "after you changed something there"],
  ["npm run demo -- --down", "stops and removes everything that the demo made"],
];

async function startServer(progress: Progress, record: Record_, keep: (change: Partial<Record_>) => void): Promise<string> {
  const build = readFileSync(join(root, "dist", ".stamp"), "utf8");
  const before = await serverStatus();
  if (before.running && before.url !== undefined && !(record.server && record.build !== build)) {
    progress.done(`Berth runs already: ${before.url}`);
    return before.url;
  }
  const step = progress.step(
    before.running ? "Starting the control plane again, because it was built anew (what runs goes on)" : "Starting Berth",
  );
  const started = performance.now();
  try {
    if (before.running) await must("Stopping the old control plane", ["server", "stop"]);
    else keep({ server: true });
    // Joins the start of a run that broke off.
    const answer = await must("Starting Berth", ["server", "start"]);
    const { url } = await serverStatus();
    if (url === undefined)
      throw new DemoError("Berth started, but does not say where it answers.", "This is a bug in Berth; please report it.");
    keep({ build, url });
    step.done(`Berth runs: ${url} (${seconds(performance.now() - started)})`);
    for (const line of answer.stderr.split("\n").filter((text) => /^Port \d+ was taken/.test(text))) progress.note(line);
    return url;
  } catch (error) {
    step.drop();
    throw error;
  }
}

/** Exit code 1 only says that it does not run. */
async function serverStatus(): Promise<ServerStatus> {
  const answer = await ask(["server", "status", "--json"]);
  if (answer.stdout.trim() === "")
    throw new DemoError("Berth does not say whether it runs.", "The command was: ./bin/berth server status --json", answer.stderr);
  return parse<ServerStatus>(answer, "The server's status");
}

/** On its own machine the server's user needs no token: whoever can read the home folder is the administrator. `server start` does this already, as a rule. */
async function signIn(progress: Progress, url: string): Promise<void> {
  if ((await ask(["whoami", "--json"], url)).code === 0) return;
  await must("Signing in", ["login"], url);
  progress.done("Signed in as administrator");
}

async function stackExists(url: string): Promise<boolean> {
  return (await ask(["stacks", "show", stack, "--json"], url)).code === 0;
}

async function deploy(progress: Progress, url: string, engine: DemoEngine): Promise<void> {
  // Containers bring their own.
  const files = engine !== "local" || hasPython() ? [] : ["--file", "compose.yaml", "--file", "compose.without-python.yaml"];
  if (files.length > 0) {
    progress.note(
      "There is no python3 on this machine, so the API of the guestbook is left out. To have it: apt install python3 (or dnf, pacman, ...), then run this again.",
    );
  }
  progress.line(`\n${progress.bold(`berth up -s ${stack}`)}  ${progress.dim("(in examples/guestbook)")}`);
  const code = await show(["up", "-s", stack, "--yes", ...files], { cwd: join(root, "examples", "guestbook"), server: url });
  if (code !== 0)
    throw new DemoError(
      `The stack did not come up (exit code ${code}).`,
      "Berth goes on running. The lines above say why; `npm run demo` goes on from here, `npm run demo -- --down` removes everything.",
    );
}

function hasPython(): boolean {
  try {
    return (
      execFileSync("python3", ["-c", "import sqlite3, sys; print(sys.version_info >= (3, 8))"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }).trim() === "True"
    );
  } catch {
    // Not there, or not usable: both mean that the demo does without it.
    return false;
  }
}

async function publicUrls(url: string): Promise<string[]> {
  const answer = await must("Asking for the stack's components", ["components", "list", "-s", stack, "--json"], url);
  const urls = parse<{ items: readonly ComponentRow[] }>(answer, "The list of components").items.flatMap((component) => component.urls);
  if (urls.length === 0) throw new DemoError("The stack has no public URL.", `./bin/berth status -s ${stack} shows why.`);
  return urls;
}

async function lookAt(progress: Progress, url: string, gateway: Awaited<ReturnType<typeof gatewayOf>> | undefined): Promise<void> {
  const answer = await fetchThrough(url, 30_000, gateway);
  if ("error" in answer)
    throw new DemoError(
      `${url} does not answer: ${answer.error}`,
      `./bin/berth status -s ${stack} and ./bin/berth logs -s ${stack} say why.`,
    );
  if (answer.status >= 400) throw new DemoError(`${url} answered ${answer.status}.`, `./bin/berth logs -s ${stack} says why.`);
  progress.done(`${url}  ${answer.status} in ${Math.round(answer.took)} ms, ${answer.bytes} bytes`);
}
