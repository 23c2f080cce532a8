// The two projects whose images are compared, and how somebody who knows their trade would write their Dockerfiles: stages, dependencies before sources, nothing that only a build needs, no root.
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

export type Files = Readonly<Record<string, string>>;

export interface Sample {
  readonly name: string;
  readonly files: Files;
  /** `build` and `run` are the images that the catalogue has for its runtime. */
  readonly dockerfile: (build: string, run: string) => string;
}

const versionOf = (modules: string, name: string): string =>
  (JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8")) as { readonly version: string }).version;

/** Packages of the sample: two that it needs, one that only its developers do. */
export const packages = { dependencies: ["semver", "yaml"], devDependencies: ["prettier"] } as const;

/** With a lockfile that npm made from this registry, in `folder`. */
export async function nodeSample(modules: string, registry: string, folder: string): Promise<Sample> {
  const ranges = (names: readonly string[]): Record<string, string> =>
    Object.fromEntries(names.map((name) => [name, versionOf(modules, name)]));
  const manifest = JSON.stringify({
    name: "sample",
    version: "1.0.0",
    private: true,
    scripts: { start: "node server.js" },
    dependencies: ranges(packages.dependencies),
    devDependencies: ranges(packages.devDependencies),
  });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), manifest);
  const options = ["--package-lock-only", "--omit-lockfile-registry-resolved", "--registry", registry, "--cache", join(folder, ".npm")];
  await promisify(execFile)("npm", ["install", ...options], { cwd: folder });
  return {
    name: "Node.js",
    files: {
      "package.json": manifest,
      "package-lock.json": readFileSync(join(folder, "package-lock.json"), "utf8"),
      "server.js": `const { createServer } = require("node:http");
const semver = require("semver");
const { stringify } = require("yaml");
createServer((request, answer) => answer.end(stringify({ node: semver.major(process.version) }))).listen(process.env.PORT ?? 8080);
process.on("SIGTERM", () => process.exit(0));
`,
    },
    dockerfile: (build, run) => `FROM ${build} AS dependencies
WORKDIR /app
ARG npm_config_registry
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM ${run}
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY . .
USER 10001:10001
EXPOSE 8080
CMD ["node", "server.js"]
`,
  };
}

export const goSample: Sample = {
  name: "Go",
  files: {
    "go.mod": "module example.com/sample\n\ngo 1.19\n",
    "main.go": `package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) { fmt.Fprintln(answer, "hello") })
	if err := http.ListenAndServe(":"+port, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`,
  },
  dockerfile: (build, run) => `FROM ${build} AS build
WORKDIR /src
COPY go.mod ./
RUN go mod download
COPY . .
RUN go build -trimpath -ldflags="-s -w" -o /out/server .

FROM ${run}
COPY --from=build /out/server /usr/local/bin/server
USER 10001:10001
EXPOSE 8080
CMD ["server"]
`,
};
