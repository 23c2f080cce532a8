// The files of `berth init`: the same for the same project, and what Compose makes of them is what Berth would have run.
import { expect, it } from "vitest";
import { parse } from "yaml";
import { planOf, type Files } from "../buildplan/tree.fixture.ts";
import { publicCatalogue } from "./catalogue.ts";
import { initFiles, type InitFile } from "./init.ts";

function filesOf(files: Files, prefer: "process" | "image" = "process"): Record<string, string> {
  const outcome = initFiles(planOf(files, { prefer }), publicCatalogue, "// the file server");
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.cause));
  return Object.fromEntries(outcome.files.map(({ path, text }: InitFile) => [path, text]));
}

const project: Files = {
  "package.json": { dependencies: { express: "5" } },
  "package-lock.json": { lockfileVersion: 3, packages: {} },
  Procfile: "web: node server.js\nbackground_jobs: node worker.js $QUEUE\nrelease: node migrate.js\n",
};

it("has a service for each process that keeps running, with one build", () => {
  const files = filesOf(project);
  expect(Object.keys(files)).toEqual(["Dockerfile", ".dockerignore", "compose.yaml"]);
  expect(parse(files["compose.yaml"] ?? "")).toEqual({
    services: {
      web: { build: ".", ports: ["8080:8080"], "x-berth": { process: "web" } },
      "background-jobs": {
        build: ".",
        command: ["/bin/sh", "-c", "exec node worker.js $$QUEUE"],
        "x-berth": { process: "background_jobs" },
      },
    },
  });
});

it("leaves out of the context what is installed anew, and what is nobody's business", () => {
  const ignored = (filesOf(project)[".dockerignore"] ?? "").split("\n");
  expect(ignored).toEqual(expect.arrayContaining([".git", ".env", "node_modules"]));
});

it("says the same again when its own files lie there", () => {
  const first = filesOf(project);
  expect(filesOf({ ...project, ...first })).toEqual(first);
});

it("gives a static site its file server along", () => {
  expect(filesOf({ "index.html": "<p>" })[".berth-static.mjs"]).toBe("// the file server");
});

it("leaves a Dockerfile that is there, and its context, to its author", () => {
  const files = filesOf({ Dockerfile: "FROM scratch\n" }, "image");
  expect(Object.keys(files)).toEqual(["compose.yaml"]);
  expect(parse(files["compose.yaml"] ?? "")).toEqual({ services: { web: { build: ".", ports: ["8080:8080"] } } });
  const other = filesOf({ Containerfile: "FROM scratch\n" }, "image");
  expect(parse(other["compose.yaml"] ?? "")).toMatchObject({ services: { web: { build: { context: ".", dockerfile: "Containerfile" } } } });
});
