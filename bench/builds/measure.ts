// The same build by Berth and by `docker build`, in turn, each with a cache of its own.
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { DockerPlace } from "../../e2e/docker/place.ts";
import { until, type Files } from "../../e2e/harness.ts";
import { dockerfile, type Project } from "./project.ts";

export interface Case {
  readonly title: string;
  readonly stack: string;
  /** The same Dockerfile for both; else Berth composes one from the build plan. */
  readonly own: boolean;
  /** What is different from the build before. */
  readonly changes: "dependencies" | "source";
  readonly bar: "ratio" | "seconds";
}
export const cases: readonly Case[] = [
  { title: "own Dockerfile, other dependencies", stack: "own-all", own: true, changes: "dependencies", bar: "ratio" },
  { title: "own Dockerfile, one source file", stack: "own-one", own: true, changes: "source", bar: "ratio" },
  { title: "composed, one source file", stack: "plan-one", own: false, changes: "source", bar: "seconds" },
];

/** ms, one sample a round. */
export interface Found extends Case {
  readonly peer: number[];
  /** From the moment that the build could begin to its end. */
  readonly build: number[];
  /** With the upload, the plan and the order to deploy. */
  readonly whole: number[];
}

const ignored = "Dockerfile\n.dockerignore\ncompose.yaml\n";

export async function measure(
  place: DockerPlace,
  project: Project,
  one: Case,
  rounds: number,
  folder: string,
  note: (text: string) => void,
): Promise<Found> {
  const found: Found = { ...one, peer: [], build: [], whole: [] };
  // The first fills the caches of both.
  for (let round = 0; round <= rounds; round += 1) {
    const salt = `${one.stack} ${one.changes === "dependencies" ? String(round) : ""}`;
    const files = project(salt, `round ${String(round)}`);
    const peer = await dockerBuild(place, { ...files, Dockerfile: dockerfile, ".dockerignore": ignored }, folder);
    const { build, whole } = await berthBuild(
      place,
      one.stack,
      one.own ? { ...files, Dockerfile: dockerfile, ".dockerignore": ignored } : files,
    );
    note(
      `${one.title}, round ${String(round)}: docker build ${peer.toFixed(0)} ms, build ${String(build)} ms, with the upload ${whole.toFixed(0)} ms`,
    );
    if (round === 0) continue;
    found.peer.push(peer);
    found.build.push(build);
    found.whole.push(whole);
  }
  return found;
}

async function dockerBuild({ daemon }: DockerPlace, files: Files, folder: string): Promise<number> {
  const at = join(folder, "context");
  rmSync(at, { recursive: true, force: true });
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(at, name)), { recursive: true });
    writeFileSync(join(at, name), text);
  }
  const from = performance.now();
  await promisify(execFile)("docker", ["--host", daemon.url, "build", "--quiet", "--tag", "berth-bench/peer:1", at], {
    env: { PATH: process.env["PATH"], HOME: folder, DOCKER_BUILDKIT: "0" },
  });
  return performance.now() - from;
}

async function berthBuild(
  { berth }: DockerPlace,
  stack: string,
  files: Files,
): Promise<{ readonly build: number; readonly whole: number }> {
  const from = performance.now();
  const compose = { "compose.yaml": "services: {web: {build: ., ports: ['8080'], deploy: {replicas: 0}}}\n" };
  await berth.up(stack, { ...files, ...compose });
  const ended = await until(
    async () => {
      const { items } = await berth.client.listBuilds({ params: { stack } });
      return items[0]?.endedAt === undefined ? undefined : items[0];
    },
    "the build",
    300_000,
    () => berth.log(),
    20,
  );
  const whole = performance.now() - from;
  if (ended.phase !== "succeeded") throw new Error(JSON.stringify(ended.cause));
  return { build: Date.parse(ended.endedAt ?? "") - Date.parse(ended.queuedAt), whole };
}
