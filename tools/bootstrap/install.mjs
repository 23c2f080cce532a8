// Brings node_modules to exactly what package-lock.json says, and knows when it already is. A stamp is written only after `npm ci` ended
// well; without it, or with a package missing, everything is installed again. Nothing relies on install scripts (npm 11 blocks them).
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { seconds } from "../progress.mjs";
import { capture } from "./processes.mjs";

/** Something that the person at the keyboard can mend: what, how, and the end of a program's output. */
export class SetupError extends Error {
  constructor(message, hint, output = "") {
    super(message);
    this.hint = hint;
    this.output = output;
  }
}

const stampFile = ".berth-install.json";

export async function ensureInstalled({ root, env, progress }) {
  const wanted = fingerprint(root);
  if (isInstalled(root, wanted)) return;
  await endOrphan(root, progress);
  const modules = join(root, "node_modules");
  checkWritable(root, modules);

  const fresh = !existsSync(modules);
  const step = progress.step(
    fresh ? "Installing dependencies (once; about 100 MB)" : "Installing dependencies again: they are not what package-lock.json says",
  );
  const started = performance.now();
  rmSync(join(modules, stampFile), { force: true });
  let { code, output } = await npmCi(process.execPath, root, env);
  if (code === 0 && missingPackages(root).length > 0 && bundledNode(root) !== undefined) {
    // npm leaves out native packages that ask for a newer Node.js than the one it runs on; ours is new enough, and is there now.
    ({ code, output } = await npmCi(bundledNode(root), root, env));
  }
  if (code !== 0) {
    step.drop();
    throw new SetupError(...whatFailed(output, root), errorsOnly(output));
  }
  const missing = missingPackages(root);
  if (missing.length > 0) {
    step.drop();
    throw new SetupError(
      `npm said that it installed everything, but ${missing.slice(0, 3).join(", ")} ${missing.length > 1 ? "are" : "is"} missing.`,
      "Run the same command again; if that does not help: rm -rf node_modules",
      output,
    );
  }
  writeFileSync(join(modules, stampFile), JSON.stringify({ fingerprint: wanted }));
  step.done(`Installed dependencies (${seconds(performance.now() - started)})`);
}

/** Of everything that decides what is installed. */
function fingerprint(root) {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}\n`);
  return hash.update(readFileSync(join(root, "package-lock.json"))).digest("hex");
}

function isInstalled(root, wanted) {
  const stamp = readJson(join(root, "node_modules", stampFile));
  if (stamp?.fingerprint === wanted) return missingPackages(root).length === 0;
  if (stamp !== undefined || !sameAsLock(root) || missingPackages(root).length > 0) return false;
  // Installed by hand with npm: just as good, and nobody wants it torn down.
  try {
    writeFileSync(join(root, "node_modules", stampFile), JSON.stringify({ fingerprint: wanted }));
  } catch (error) {
    if (error.code !== "EACCES" && error.code !== "EROFS") throw error;
  }
  return true;
}

/** npm writes node_modules/.package-lock.json as its last step; it is the list of what it put there. */
function sameAsLock(root) {
  const lock = readJson(join(root, "package-lock.json"))?.packages;
  const there = readJson(join(root, "node_modules", ".package-lock.json"))?.packages;
  if (lock === undefined || there === undefined) return false;
  return Object.entries(there).every(([path, entry]) => lock[path]?.version === entry.version && lock[path]?.integrity === entry.integrity);
}

/** Packages that have to be there and are not: an interrupted run, a folder that someone removed, a download that npm let pass because it was optional. */
function missingPackages(root) {
  const lock = readJson(join(root, "package-lock.json"))?.packages ?? {};
  const there = readJson(join(root, "node_modules", ".package-lock.json"))?.packages;
  if (there === undefined) return ["node_modules/.package-lock.json"];
  const wanted = Object.entries(lock)
    .filter(([path, entry]) => path.startsWith("node_modules/") && isNeeded(entry))
    .map(([path]) => path);
  return [...new Set([...wanted, ...Object.keys(there)])].filter((path) => path !== "" && !existsSync(join(root, path, "package.json")));
}

/** Everything that is not optional, and of the optional packages the native ones for this machine. */
function isNeeded(entry) {
  if (entry.optional !== true) return true;
  if (entry.os === undefined && entry.cpu === undefined) return false;
  const fits = (list, value) => list === undefined || list.includes(value);
  return fits(entry.os, process.platform) && fits(entry.cpu, process.arch) && fits(entry.libc, libc);
}

const libc = process.report?.getReport().header.glibcVersionRuntime === undefined ? "musl" : "glibc";

/** Berth's own Node.js, if it is installed. */
export function bundledNode(root) {
  const file = join(root, "node_modules", `node-linux-${process.arch}`, "bin", "node");
  return existsSync(file) ? file : undefined;
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError || error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** `npm ci` with every setting that a user's own npmrc or NODE_ENV could bend, said out loud. */
async function npmCi(node, root, env) {
  const cli = npmCli(env);
  const npm = cli === undefined ? ["npm"] : [node, cli];
  const args = [
    "ci",
    "--include=dev",
    "--include=optional",
    "--include=peer",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--prefer-offline",
    "--engine-strict=false",
    "--legacy-peer-deps=false",
    "--strict-peer-deps=false",
    "--install-strategy=hoisted",
    "--global=false",
    "--dry-run=false",
    "--package-lock=true",
    "--bin-links=true",
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=4000",
    "--color=false",
    "--progress=false",
  ];
  const note = orphanNote(root);
  const result = await capture(npm[0], [...npm.slice(1), ...args], {
    cwd: root,
    env,
    onSpawn(child) {
      if (child.pid === undefined) return;
      mkdirSync(join(root, ".cache"), { recursive: true });
      writeFileSync(note, JSON.stringify({ pid: child.pid, startedAt: startTime(child.pid) }));
    },
  });
  rmSync(note, { force: true });
  return result;
}

/** npm's own program: the one that started this, or the one on PATH. */
function npmCli(env) {
  const running = process.env.npm_execpath;
  if (running !== undefined && basename(running) === "npm-cli.js") return running;
  for (const folder of (env.PATH ?? "").split(":")) {
    const file = join(folder, "npm");
    if (folder !== "" && existsSync(file)) return basename(realpathSync(file)) === "npm-cli.js" ? realpathSync(file) : undefined;
  }
  return undefined;
}

const orphanNote = (root) => join(root, ".cache", "npm-ci.json");

/** When an earlier run was killed, its npm may still be writing into node_modules: it is ended before another one starts. */
async function endOrphan(root, progress) {
  const note = readJson(orphanNote(root));
  if (note === undefined) return;
  const alive = () => note.startedAt !== undefined && startTime(note.pid) === note.startedAt;
  for (const [signal, tries] of [
    ["SIGTERM", 100],
    ["SIGKILL", 50],
  ]) {
    if (!alive()) break;
    if (signal === "SIGTERM") progress.line("An interrupted run is still installing; ending it.");
    process.kill(note.pid, signal);
    for (let i = 0; i < tries && alive(); i++) await pause(100);
  }
  rmSync(orphanNote(root), { force: true });
}

/** Field 22 of /proc/PID/stat: with the pid, it names one process for ever. A zombie counts as gone. */
function startTime(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ESRCH") return undefined;
    throw error;
  }
}

function checkWritable(root, modules) {
  for (const folder of [root, modules]) {
    if (!existsSync(folder)) continue;
    try {
      accessSync(folder, constants.W_OK);
    } catch {
      const owner = statSync(folder).uid;
      throw new SetupError(
        `${folder} belongs to ${owner === 0 ? "root" : `user ${owner}`}, and you may not write there.`,
        folder === root ? "Clone the repository into a folder of your own." : `Remove it first: sudo rm -rf ${folder}`,
      );
    }
  }
}

/** Without npm's warnings and stack traces, unless there is nothing else. */
function errorsOnly(output) {
  const errors = output
    .split("\n")
    .filter((line) => line.startsWith("npm error") && !/^npm error( {4}at |$| (A complete log|If you are behind))/.test(line));
  return errors.length > 0 ? errors.join("\n") : output;
}

/** npm's output in one sentence and what to do about it. */
export function whatFailed(output, root) {
  const has = (...words) => words.some((word) => output.includes(word));
  if (
    has(
      "ENOTFOUND",
      "EAI_AGAIN",
      "ENETUNREACH",
      "ECONNREFUSED",
      "ETIMEDOUT",
      "ECONNRESET",
      "ERR_SOCKET_TIMEOUT",
      "network request to",
      "ENOTCACHED",
    )
  ) {
    return [
      "npm cannot reach its package registry.",
      "Is this machine online? Behind a proxy or with a registry of your own, `npm config get registry` and `npm config get proxy` show what npm uses. Then run the same command again; what was fetched is kept.",
    ];
  }
  if (has("SELF_SIGNED_CERT", "UNABLE_TO_GET_ISSUER", "UNABLE_TO_VERIFY", "CERT_")) {
    return [
      "The registry's certificate is not trusted by npm.",
      "Point npm at your organisation's certificate: npm config set cafile /path/to/ca.pem",
    ];
  }
  if (has("E401", "E403")) return ["The package registry refused access.", "Sign in with `npm login`, or check the token in ~/.npmrc."];
  if (has("E404", "ETARGET"))
    return [
      "The package registry lacks a package that Berth needs.",
      "A registry of your own may not mirror everything: the lines above name the package.",
    ];
  if (has("ENOSPC")) return ["The disk is full.", `Berth's dependencies take 420 MB below ${root}; npm's cache another 170 MB.`];
  if (has("EACCES", "EPERM", "EROFS"))
    return [
      "npm may not write where it has to.",
      `Check who owns ${root} and npm's cache (\`npm config get cache\`): an earlier run as root may have left files there.`,
    ];
  if (has("EINTEGRITY")) return ["A downloaded package is damaged.", "Empty npm's cache and try again: npm cache clean --force"];
  if (has("can only install packages when your package.json and package-lock.json"))
    return [
      "package.json and package-lock.json do not agree.",
      "If you changed a dependency, run `npm install` once and commit both files; otherwise: git checkout -- package.json package-lock.json",
    ];
  if (has("npm: spawn npm ENOENT"))
    return ["There is no npm on this machine.", "npm comes with Node.js; some distributions package it apart (apt install npm)."];
  return [
    "npm could not install the dependencies.",
    "The lines above are the end of what npm said. Running the same command again is safe.",
  ];
}
