// A home with secrets of Berth and of other stacks, and a build in it that tries everything. Also a program of its own, so that a test that is root can run
// it as an ordinary user: prints what came of it as JSON.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { attemptsIn, type Attempt } from "../../sandbox/testing/attempts.ts";
import { planOf, stepOf, testHost } from "./host.ts";

export const hostileProgram = readFileSync(fileURLToPath(new URL("../../sandbox/testing/hostile.mjs", import.meta.url)), "utf8");
const secret = "the-stacks-secret-4712";
export const nodeTool: BuildPlan["tools"] = [
  { name: "node", wanted: "*", phase: "build", source: "test" },
] as unknown as BuildPlan["tools"];

export interface Attacked {
  readonly ok: boolean;
  readonly got: readonly Attempt[];
  /** Files of others that are no longer as they were. */ readonly changed: readonly string[];
}

interface Victims {
  /** For HOSTILE. */
  readonly targets: object;
  /** Files of others that are no longer as they were. */
  readonly changed: () => readonly string[];
}

/** Secrets of Berth and of other stacks in this home, and what a build is told to try against them. */
function victimsIn(home: string): Victims {
  for (const folder of ["edge", "postgres", "stacks/stack-2/volumes/data", "caches/stack-2/tools/npm", "builds/another/src"])
    mkdirSync(join(home, folder), { recursive: true, mode: 0o700 });
  const kept = [
    "admin-token",
    "secrets.key",
    "postgres/password",
    "stacks/stack-2/volumes/data/secret",
    "caches/stack-2/tools/npm/index",
    "builds/another/src/main.js",
  ];
  for (const file of kept) writeFileSync(join(home, file), secret, { mode: 0o600 });
  const paths = Object.fromEntries(kept.map((file) => [file, join(home, file)]));
  const targets = {
    home,
    secret,
    read: paths,
    write: paths,
    list: { home: join(home, "edge"), builds: join(home, "builds", "another") },
    connect: { agent: join(home, "run", "agent.sock") },
  };
  return { targets, changed: () => kept.filter((file) => readFileSync(join(home, file), "utf8") !== secret) };
}

/** The same in a folder of their own, for builds that no host builder runs. */
export function hostileTargets(): Victims & { readonly remove: () => void } {
  const home = mkdtempSync(join(tmpdir(), "berth-victim-"));
  return { ...victimsIn(home), remove: () => rmSync(home, { recursive: true, force: true }) };
}

export async function attack(): Promise<Attacked> {
  const host = await testHost();
  try {
    const { targets, changed } = victimsIn(host.home);
    const { outcome, text } = await host.run({
      sourceDigest: await host.upload({ "hostile.mjs": hostileProgram }),
      plan: planOf({ tools: nodeTool, steps: [stepOf("node hostile.mjs")] }),
      env: { HOSTILE: JSON.stringify(targets) },
    });
    return { ok: outcome.ok, got: attemptsIn(text.split("\n")), changed: changed() };
  } finally {
    await host.dispose();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(JSON.stringify(await attack()));
