// Many deployments asked for at one moment, and the same builds by a plain shell loop beside it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Build } from "@berth/contract/resources/builds.ts";
import { until, type TestBerth } from "../../e2e/harness.ts";
import { cpuSeconds } from "../shared/watch.ts";
import { stackOf, type Stack } from "./project.ts";

export interface Queued {
  readonly deployments: number;
  /** ms from the moment they were asked for until the last build ended, and until the last rollout did. */
  readonly built: number;
  readonly done: number;
  /** Seconds of CPU time that Berth's own processes took beside the builds. */
  readonly cpu: number;
  /** ms until each stack's last rollout ended. */
  readonly perStack: readonly number[];
  /** The most builds that one stack was ahead of another while both had some waiting. */
  readonly lead: number;
  /** Rollouts that did not succeed, in words. */
  readonly lost: readonly string[];
  readonly plan: BuildPlan;
}

/** Stacks are prepared first, and then all asked for at once. */
export async function deployAtOnce(berth: TestBerth, stacks: readonly Stack[]): Promise<Queued> {
  const plans = [];
  for (const { name, compose, contexts } of stacks) plans.push({ stack: name, plan: (await berth.plan(name, compose, contexts)).id });
  const before = cpuSeconds(berth);
  const began = Date.now();
  const made = await Promise.all(plans.map((params) => berth.client.applyPlan({ params, body: {} })));
  const asked = Date.now();
  const lost: string[] = [];
  const perStack = await Promise.all(
    stacks.map(async ({ name, contexts }, index) => {
      const wanted = made[index]?.rollouts.length ?? 0;
      if (wanted !== Object.keys(contexts).length) lost.push(`${name}: ${String(wanted)} rollouts were made`);
      const ended = await until(
        async () => {
          const { items } = await berth.client.listStackRollouts({ params: { stack: name }, query: { limit: 500 } });
          return items.every((one) => one.endedAt !== undefined) ? items : undefined;
        },
        `the end of all rollouts of ${name}`,
        1_200_000,
        () => berth.log(),
        2_500,
      );
      for (const one of ended)
        if (one.phase !== "succeeded") lost.push(`${name}/${one.component} ${one.phase}: ${JSON.stringify(one.cause)}`);
      return Math.max(...ended.map((one) => Date.parse(one.endedAt ?? ""))) - began;
    }),
  );
  const cpu = cpuSeconds(berth) - before;
  const builds = await Promise.all(
    stacks.map(async ({ name }) => (await berth.client.listBuilds({ params: { stack: name }, query: { limit: 500 } })).items),
  );
  const plan = (await berth.client.showBuild({ params: { stack: stacks[0]?.name ?? "", build: 1 } })).plan;
  if (plan === undefined) throw new Error("the first build has no plan");
  return {
    deployments: stacks.reduce((sum, { contexts }) => sum + Object.keys(contexts).length, 0),
    built: Math.max(...builds.flat().map((build) => Date.parse(build.endedAt ?? ""))) - began,
    done: Math.max(...perStack),
    cpu,
    perStack,
    lead: leadOf(builds, asked),
    lost,
    plan,
  };
}

/** Looks at every start from the moment that all stacks had asked and were answered (what is queued is seen by nobody until then), as long as every stack has one to come. */
function leadOf(builds: readonly (readonly Build[])[], asked: number): number {
  const starts = builds.map((list) => list.map((build) => Date.parse(build.startedAt ?? "")).filter((at) => at > asked));
  const order = starts.flatMap((list, stack) => list.map((at) => ({ at, stack }))).sort((a, b) => a.at - b.at);
  const begun = starts.map(() => 0);
  let lead = 0;
  for (const { stack } of order) {
    begun[stack] = (begun[stack] ?? 0) + 1;
    if (begun.some((count, index) => count === starts[index]?.length)) break;
    lead = Math.max(lead, Math.max(...begun) - Math.min(...begun));
  }
  return lead;
}

export interface Loop {
  /** ms */
  readonly took: number;
  /** Seconds of CPU time. */
  readonly cpu: number;
}

/** What a shell takes to run the same steps in copies of the same folders, as many at once, with the priority that builds have. */
export async function shellLoop(stacks: readonly Stack[], plan: BuildPlan, atOnce: number): Promise<Loop> {
  const root = mkdtempSync(join(tmpdir(), "berth-loop-"));
  try {
    const folders = stacks.flatMap(({ name, contexts }) =>
      Object.entries(contexts).map(([context, files]) => {
        const folder = join(root, "sources", `${name}-${context}`);
        for (const [file, text] of Object.entries(files)) {
          mkdirSync(dirname(join(folder, file)), { recursive: true });
          writeFileSync(join(folder, file), text);
        }
        return `${name}-${context}`;
      }),
    );
    const steps = plan.steps.map(({ command }) => ("shell" in command ? command.shell : command.exec.map(quoted).join(" ")));
    mkdirSync(join(root, "work"));
    writeFileSync(
      join(root, "one"),
      ["set -e", `cp -r "${root}/sources/$1" "${root}/work/$1"`, `cd "${root}/work/$1"`, ...steps, ""].join("\n"),
    );
    const began = performance.now();
    const script = `xargs -P ${String(atOnce)} -n 1 nice -n 10 sh "${join(root, "one")}" > /dev/null || exit; times`;
    const loop = spawn("sh", ["-c", script], { stdio: "pipe", env: { ...process.env, HOME: join(root, "work") } });
    const kill = (): void => {
      if (loop.pid !== undefined && loop.exitCode === null) process.kill(-loop.pid, "SIGKILL");
      rmSync(root, { recursive: true, force: true });
    };
    process.once("exit", kill);
    let said = "";
    let times = "";
    loop.stdout.setEncoding("utf8").on("data", (text: string) => (times += text));
    loop.stderr.setEncoding("utf8").on("data", (text: string) => (said = `${said}${text}`.slice(-2_000)));
    loop.stdin.end(folders.join("\n"));
    const [code] = (await once(loop, "close").finally(() => process.off("exit", kill))) as [number | null];
    if (code !== 0) throw new Error(`the shell loop ended with ${String(code)}: ${said}`);
    return { took: performance.now() - began, cpu: childrenSeconds(times) };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** What the shell's `times` says of what it ran: its second line, user and system, each as 1m2.5s. */
function childrenSeconds(times: string): number {
  const found = [...(times.split("\n")[1] ?? "").matchAll(/(\d+)m([\d.]+)s/g)];
  if (found.length !== 2) throw new Error(`the shell says of its times: ${times}`);
  return found.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

export const stacksOf = (stacks: number, components: number, rounds: number): Stack[] =>
  Array.from({ length: stacks }, (_, index) => stackOf(`queue-${String(index)}`, components, rounds));
