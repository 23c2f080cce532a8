// A Node.js application with many dependencies, the packages it needs, and the image that installs them. All of it real: npm installs from a registry on this machine.
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { base } from "../../e2e/docker/place.ts";
import type { Files } from "../../e2e/harness.ts";
import type { DockerApi } from "../../packages/server/src/docker/api.ts";

const run = promisify(execFile);
const modules = join(import.meta.dirname, "..", "..", "node_modules");
/** Debian with Node.js and npm. */
export const buildImage = "berth-bench/node:18";

/** This machine's own npm, upon the image of the tests. */
export async function npmImage(api: DockerApi): Promise<void> {
  const { stdout: found } = await run("sh", ["-c", "command -v npm"]);
  const npm = dirname(dirname(realpathSync(found.trim())));
  const folder = join(npm, "..", "npm");
  const context = await run("mktemp", ["-d"]).then(({ stdout }) => stdout.trim());
  try {
    cpSync(folder, join(context, "npm"), { recursive: true, dereference: true });
    writeFileSync(
      join(context, "Dockerfile"),
      `FROM ${base}\nCOPY npm /usr/lib/node_modules/npm\nRUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/bin/npm && chmod 755 /usr/lib/node_modules/npm/bin/*.js\n`,
    );
    const { stdout } = await run("sh", ["-c", `tar -C ${context} -cf ${context}.tar . && echo ${context}.tar`]);
    const file = stdout.trim();
    const answer = await api.stream("POST", "/build", { query: { t: buildImage }, body: readFileSync(file), timeout: Infinity });
    for await (const chunk of answer) if (String(chunk).includes("errorDetail")) throw new Error(String(chunk));
    rmSync(file);
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}

/** Packages of the size that packages have: each is a copy of a real one under a name of its own. Returns their names. */
export function makeDependencies(folder: string, count: number): string[] {
  const names = Array.from({ length: count }, (_, index) => `dependency-${String(index + 1)}`);
  for (const name of names) {
    const at = join(folder, name);
    mkdirSync(at, { recursive: true });
    cpSync(join(modules, "semver"), at, { recursive: true });
    const manifest = JSON.parse(readFileSync(join(at, "package.json"), "utf8")) as { version: string; main: string };
    writeFileSync(join(at, "package.json"), JSON.stringify({ name, version: manifest.version, main: manifest.main }));
  }
  return names;
}

/** Somebody's application; `salt` makes the list of dependencies another one, `text` one source file. */
export type Project = (salt: string, text: string) => Files;

export async function projectWith(names: readonly string[], registry: string, folder: string): Promise<Project> {
  const { version } = JSON.parse(readFileSync(join(modules, "semver", "package.json"), "utf8")) as { version: string };
  const manifest = {
    name: "sample",
    version: "1.0.0",
    private: true,
    scripts: { start: "node server.js" },
    dependencies: Object.fromEntries(names.map((name) => [name, version])),
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  const options = ["--package-lock-only", "--registry", registry, "--cache", join(folder, ".npm"), "--no-audit"];
  await run("npm", ["install", ...options], { cwd: folder });
  const lock = readFileSync(join(folder, "package-lock.json"), "utf8");
  const sources = Object.fromEntries(
    Array.from({ length: 100 }, (_, index) => [`src/part-${String(index)}.js`, `module.exports = ${JSON.stringify("x".repeat(2_000))};\n`]),
  );
  return (salt, text) => ({
    "package.json": JSON.stringify({ ...manifest, description: salt }),
    "package-lock.json": lock,
    ".npmrc": `registry=${registry}\n`,
    ...sources,
    "server.js": `require("dependency-1"); require("node:http").createServer((request, answer) => answer.end(${JSON.stringify(text)})).listen(process.env.PORT ?? 8080);
process.on("SIGTERM", () => process.exit(0));
`,
  });
}

/** As somebody who knows their trade would write it: stages, dependencies before sources, no root. */
export const dockerfile = `FROM ${buildImage} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM ${base}
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY . .
USER 10001:10001
EXPOSE 8080
CMD ["node", "server.js"]
`;
