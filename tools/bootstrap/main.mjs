// The order of things: one run at a time sets up (install, build), then the lock is let go and the program itself runs.
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createProgress, seconds } from "../progress.mjs";
import { withUsableCache } from "./cache.mjs";
import { forNpm, forProgram } from "./env.mjs";
import { bundledNode, ensureInstalled, SetupError } from "./install.mjs";
import { takeLock } from "./lock.mjs";
import { capture, interruptedBy, run } from "./processes.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Runs one of `programs` by name with the rest of `argv` and resolves to its exit code. */
export async function main(programs, argv) {
  const [name, ...rest] = argv;
  const program = Object.hasOwn(programs, name ?? "") ? programs[name] : undefined;
  if (program === undefined) {
    console.error(`usage: node tools/bootstrap.mjs ${Object.keys(programs).join("|")} [arguments]`);
    return 2;
  }
  const progress = createProgress(process.stdout);
  const started = Math.round(performance.timeOrigin);
  const env = forProgram(process.env, root);
  try {
    const lock = await takeLock(root, () => progress.line("Another command is setting up this folder; waiting for it to finish."));
    let node;
    try {
      await ensureInstalled({ root, env: withUsableCache(forNpm(process.env, root), root), progress });
      node = await findNode(env);
      if (program.build === true) await ensureBuilt(node, env, progress);
    } finally {
      lock.release();
    }
    if (!existsSync(join(root, program.file)))
      throw new SetupError(`${program.file} is not there.`, "Check out the whole repository again: `git checkout -- .`");
    const programEnv = program.ownNode === true ? { ...env, PATH: `${dirname(node)}:${env.PATH ?? ""}` } : env;
    return await run(
      node,
      [join(root, program.file), ...(program.args ?? []), ...(program.tellStart === true ? [`--started=${started}`] : []), ...rest],
      { cwd: root, env: programEnv },
    );
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    const signal = interruptedBy();
    if (signal !== undefined) {
      progress.line("Interrupted. The same command goes on from here.");
      return 128 + constants.signals[signal];
    }
    progress.failure(error.message, error.hint, error.output);
    return 1;
  }
}

/** The Node.js 24 of the npm package; where that cannot run, the Node.js that runs this when it is new enough. */
async function findNode(env) {
  const bundled = bundledNode(root);
  const answer = bundled !== undefined ? await capture(bundled, ["--version"], { cwd: root, env }) : { code: 1, output: "" };
  if (answer.code === 0 && answer.output.startsWith("v24.")) return bundled;
  if (Number(process.versions.node.split(".")[0]) >= 24) return process.execPath;
  if (process.platform !== "linux")
    throw new SetupError(`Berth runs on Linux; this is ${process.platform}.`, "Use a Linux machine, or a virtual one.");
  throw new SetupError(
    "The Node.js 24 that Berth brings along does not run on this machine.",
    `It needs glibc 2.28 or newer on x64 or arm64. With another Linux (Alpine, for one), install Node.js 24 yourself and run the same command again. ${answer.output.trim()}`.trim(),
  );
}

/** Has tools/build.ts bring dist/ up to date; it knows by content whether there is anything to do. */
async function ensureBuilt(node, env, progress) {
  const step = progress.step("Building Berth", { quietFor: 1500 });
  const started = performance.now();
  const { code, output } = await capture(node, [join(root, "tools", "build.ts")], { cwd: root, env });
  if (code !== 0) {
    step.drop();
    throw new SetupError(
      "Berth could not be built.",
      "If you changed nothing, this is a bug; please report it with the lines above.",
      output,
    );
  }
  if (output.includes("up to date")) step.drop();
  else step.done(`Built Berth (${seconds(performance.now() - started)})`);
}
