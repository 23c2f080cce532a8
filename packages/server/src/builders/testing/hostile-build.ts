// A home with secrets of Berth and of other stacks, and a build in it that tries everything. Also a program of its own, so that a test that is root can run
// it as an ordinary user: prints what came of it as JSON.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { attemptsIn, type Attempt } from "../../sandbox/testing/attempts.ts";
import { planOf, stepOf, testHost } from "./host.ts";

const program = readFileSync(fileURLToPath(new URL("../../sandbox/testing/hostile.mjs", import.meta.url)), "utf8");
const secret = "the-stacks-secret-4712";
export const nodeTool: BuildPlan["tools"] = [
  { name: "node", wanted: "*", phase: "build", source: "test" },
] as unknown as BuildPlan["tools"];

export interface Attacked {
  readonly ok: boolean;
  readonly got: readonly Attempt[];
  /** Files of others that are no longer as they were. */ readonly changed: readonly string[];
}

export async function attack(): Promise<Attacked> {
  const host = await testHost();
  try {
    for (const folder of ["edge", "postgres", "stacks/stack-2/volumes/data", "caches/stack-2/tools/npm", "builds/another/src"])
      mkdirSync(join(host.home, folder), { recursive: true, mode: 0o700 });
    const kept = [
      "admin-token",
      "secrets.key",
      "postgres/password",
      "stacks/stack-2/volumes/data/secret",
      "caches/stack-2/tools/npm/index",
      "builds/another/src/main.js",
    ];
    for (const file of kept) writeFileSync(join(host.home, file), secret, { mode: 0o600 });
    const paths = Object.fromEntries(kept.map((file) => [file, join(host.home, file)]));
    const targets = {
      home: host.home,
      secret,
      read: paths,
      write: paths,
      list: { home: join(host.home, "edge"), builds: join(host.home, "builds", "another") },
      connect: { agent: join(host.home, "run", "agent.sock") },
    };
    const { outcome, text } = await host.run({
      sourceDigest: await host.upload({ "hostile.mjs": program }),
      plan: planOf({ tools: nodeTool, steps: [stepOf("node hostile.mjs")] }),
      env: { HOSTILE: JSON.stringify(targets) },
    });
    return {
      ok: outcome.ok,
      got: attemptsIn(text.split("\n")),
      changed: kept.filter((file) => readFileSync(join(host.home, file), "utf8") !== secret),
    };
  } finally {
    await host.dispose();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(JSON.stringify(await attack()));
