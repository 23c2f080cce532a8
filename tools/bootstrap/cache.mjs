// Where npm keeps what it fetched. An account without a home that can be written (nobody, a service's account, a container's made-up user) has
// no such place, and there npm does not say so: it tries for ever.
import { accessSync, constants, mkdirSync, rmdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** `env` as it is, or with npm's cache below `root` where its usual one cannot be made. */
export function withUsableCache(env, root) {
  const usual = env.npm_config_cache ?? join(env.HOME ?? homedir(), ".npm");
  return canBeMade(usual) ? env : { ...env, npm_config_cache: join(root, ".cache", "npm") };
}

/** Tries it, because permissions alone do not tell: root may write everywhere and still make no folder in /proc. Leaves nothing behind. */
function canBeMade(folder) {
  const made = [];
  try {
    const missing = [];
    let there = folder;
    while (!isFolder(there)) {
      missing.unshift(there);
      if (there === dirname(there)) return false;
      there = dirname(there);
    }
    // Step by step: with `recursive`, Node.js asks for a folder below /proc again and again.
    for (const step of missing) {
      mkdirSync(step);
      made.unshift(step);
    }
    accessSync(folder, constants.W_OK);
    return true;
  } catch (error) {
    if (error.code === undefined) throw error;
    return false;
  } finally {
    for (const step of made) rmdirSync(step);
  }
}

function isFolder(path) {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true;
}
