// Builds that fail in the ways that builds do, and what has to be told of each.
import { program, type Provocation } from "./provocation.ts";

/** bytes that the tests' Berth gives to a build. */
export const buildMemory = 320 * 1024 * 1024;

const node = (manifest: Readonly<Record<string, unknown>>, registry: string, more: Readonly<Record<string, string>> = {}) =>
  program("", undefined, {
    "package.json": JSON.stringify({ name: "web", version: "1.0.0", scripts: { start: "node server.js" }, ...manifest }),
    ".npmrc": `registry=${registry}\nfetch-retries=0\nupdate-notifier=false\n`,
    ...more,
  });

/** `registry` has the package `kept`; nobody listens at `nowhere`. */
export const builds = (registry: string, nowhere: string): readonly Provocation[] => [
  {
    code: "dependency_not_found",
    what: "needs a package that is not there",
    files: node({ dependencies: { "@acme/never-published": "1.2.3" } }, registry),
    says: /package @acme\/never-published@1\.2\.3 was not found/,
    proof: [/\| npm (?:error|ERR!) 404/],
    next: /package\.json/,
  },
  {
    code: "lockfile_outdated",
    what: "has a lockfile that is out of date",
    files: node({ dependencies: { kept: "1.0.0" } }, registry, {
      "package-lock.json": JSON.stringify({
        name: "web",
        version: "1.0.0",
        lockfileVersion: 3,
        requires: true,
        packages: { "": { name: "web", version: "1.0.0" } },
      }),
    }),
    says: /package-lock\.json does not match package\.json/,
    proof: [/\| .*`npm ci` can only install packages when/, /Missing: kept@1\.0\.0 from lock file/],
    next: /`npm install`/,
  },
  {
    code: "host_unreachable",
    what: "cannot reach its registry",
    files: node({ dependencies: { kept: "1.0.0" } }, nowhere),
    says: /^127\.0\.0\.1 could not be reached: it refused the connection\.$/,
    proof: [/\| .*ECONNREFUSED/],
    next: /HTTPS_PROXY/,
  },
  {
    code: "build_failed",
    what: "ends with the compiler's error",
    files: program("", undefined, {
      "package.json": JSON.stringify({ name: "web", scripts: { start: "node server.js", build: "node build.js" } }),
      "build.js": "console.log('compiling 3 files');\nconst { version } = undefined;\n",
    }),
    says: /`build` step failed with exit code 1: TypeError: Cannot destructure/,
    proof: [/\| TypeError: Cannot destructure/, /at Object\.<anonymous> \(build\.js:2:9\)/],
    next: /berth builds logs/,
  },
];

/** Where control groups hold builds to their memory. */
export const keptBuilds: readonly Provocation[] = [
  {
    code: "build_out_of_memory",
    what: "uses more memory than builds get",
    files: program("", undefined, {
      "package.json": JSON.stringify({ name: "web", scripts: { start: "node server.js", build: "node build.js" } }),
      "build.js": "const kept = []; setInterval(() => kept.push(Buffer.alloc(16_000_000, 1)), 2);",
    }),
    says: /`build` step was ended because it used more than 320 MiB of memory/,
    proof: [/- the kernel ended \d of the build's processes; 3\d\d MiB/],
    next: /BERTH_BUILD_MEMORY/,
  },
];
