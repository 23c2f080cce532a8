// Which programs of the edge tests start: the bundles where those are what is tested (BERTH_TEST_BUILT=1, which `npm test` says), else the sources.
// A bundle is up with a fifth of the work, and tests start hundreds.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../../../", import.meta.url));
const dist = join(root, "dist");

const sources = {
  edge: "../main.ts",
  "edge-router": "../router/main.ts",
  "edge-agent": "../agent/main.ts",
  "edge-containers": "../containers/main.ts",
  "edge-collector": "../collector/main.ts",
} as const;

/** Path of the product's own program. */
export function edgeProgram(name: keyof typeof sources): string {
  const bundle = join(dist, `${name}.js`);
  return isBuilt(bundle) ? bundle : fileURLToPath(new URL(sources[name], import.meta.url));
}

/** Path of an edge with the real primary and routers, whose agent says what the test tells it (agent/main.ts). */
export function edgeWithTestAgent(): string {
  if (!isBuilt(join(dist, "edge.js"))) return fileURLToPath(new URL("./main.ts", import.meta.url));
  const cache = join(root, ".cache", "test-edge");
  const folder = join(cache, readFileSync(join(dist, ".stamp"), "utf8").slice(0, 16));
  if (!existsSync(folder)) {
    mkdirSync(cache, { recursive: true });
    const draft = mkdtempSync(join(cache, "draft-"));
    // Copies, because an edge looks for its children beside its own real path.
    for (const name of ["edge.js", "edge-router.js", "edge-collector.js"]) copyFileSync(join(dist, name), join(draft, name));
    writeFileSync(join(draft, "edge-agent.js"), `import ${JSON.stringify(new URL("./agent/main.ts", import.meta.url).href)};\n`);
    try {
      renameSync(draft, folder);
    } catch (error) {
      // Another test's process was first.
      if (!existsSync(folder)) throw error;
      rmSync(draft, { recursive: true, force: true });
    }
  }
  return join(folder, "edge.js");
}

function isBuilt(bundle: string): boolean {
  return process.env["BERTH_TEST_BUILT"] === "1" && existsSync(bundle);
}
