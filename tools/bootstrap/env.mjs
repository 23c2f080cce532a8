// Environments for what the scripts start. `npm run` adds some thirty variables and PATH entries that must not reach servers, builds or
// tests: they would make them behave differently from the same program started by hand.
import { dirname, join } from "node:path";

/** Where npm gets packages from; a builder that runs npm needs these as the user set them. */
const network = ["npm_config_registry", "npm_config_cafile", "npm_config_proxy", "npm_config_https_proxy", "npm_config_noproxy"];
const forInstall = [...network, "npm_config_cache", "npm_config_userconfig", "npm_config_globalconfig"];

/** The environment as it was before `npm run`, as far as that can be told. */
export function forProgram(env, root) {
  return without(env, root, network);
}

/** The same, with what npm itself needs to find its cache and settings. */
export function forNpm(env, root) {
  return without(env, root, forInstall);
}

function without(env, root, kept) {
  const fromNpm = env.npm_lifecycle_event !== undefined;
  const result = {};
  for (const [key, value] of Object.entries(env)) {
    if (/^npm_/i.test(key) && !(kept.includes(key.toLowerCase()) && value !== "")) continue;
    if (fromNpm && (key === "INIT_CWD" || key === "NODE")) continue;
    result[key] = value;
  }
  if (fromNpm && env.PATH !== undefined) result.PATH = ownPath(env.PATH, root);
  return result;
}

function ownPath(path, root) {
  const added = new Set();
  for (let folder = root; ; folder = dirname(folder)) {
    added.add(join(folder, "node_modules", ".bin"));
    if (folder === dirname(folder)) break;
  }
  return path
    .split(":")
    .filter((entry) => !added.has(entry) && !entry.endsWith("/node-gyp-bin"))
    .join(":");
}
