// Runs schemathesis (https://schemathesis.io) against a real server and its own description: no 5xx, nothing that the description does not say, nobody let in
// who should not be. Shared by the short and the long test. It is installed into a cache of its own, outside the checkout, in exactly the versions of schemathesis.requirements.txt.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { defaultSpec } from "@berth/contract/spec.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestBerth } from "./harness.ts";

const run = promisify(execFile);
const requirements = join(import.meta.dirname, "schemathesis.requirements.txt");
const version = createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 12);
const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "berth", `schemathesis-${version}`);

/** The program; undefined where there is no Python, or nothing to install from. */
async function install(): Promise<string | undefined> {
  const program = join(cache, "bin", "schemathesis");
  const complete = join(cache, "complete");
  if (existsSync(complete)) return program;
  try {
    rmSync(cache, { recursive: true, force: true });
    mkdirSync(cache, { recursive: true });
    await run("python3", ["-m", "venv", cache], { timeout: 120_000 });
    await run(join(cache, "bin", "python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements], {
      timeout: 300_000,
    });
    writeFileSync(complete, "");
    return program;
  } catch (error) {
    if (process.env["BERTH_REQUIRE_ALL"] === "1") throw error;
    return undefined;
  }
}

/** What is looked for in each answer. A request that the schema allows may still be refused: a cursor, for instance, is only good when it came from a list. */
const checks = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
  "response_headers_conformance",
  "negative_data_rejection",
  "missing_required_header",
  "unsupported_method",
  "allow_header_conformance",
  "use_after_free",
  "ensure_resource_availability",
  "ignored_auth",
];
/** The first two would end the token that is used. The others are archives that schemathesis has no generator for; upload.test.ts, input.test.ts and volume-archives.test.ts have them. */
const apart = ["logout", "deleteToken", "uploadSource", "restoreVolume"];

/** Requests of which there have to be more, and how many times the seconds there may be for them. */
const fewest = 20;
const longest = 8;

export interface Amount {
  /** s for each caller; `reader`: one that may only read, who is left out where it is absent. */
  readonly seconds: { readonly admin: number; readonly reader?: number; readonly nobody: number };
  readonly examples: number;
  readonly phases: string;
  /** Of what is generated; another one each time when absent. */
  readonly seed?: number;
}

export function describeSchemathesis({ seconds, examples, phases, seed: fixed }: Amount): void {
  let berth: TestBerth;
  let program: string | undefined;
  let config = "";
  const folder = mkdtempSync(join(tmpdir(), "be-schemathesis-"));
  const seed = Number(process.env["BERTH_TEST_SEED"] ?? fixed ?? Math.floor(Math.random() * 2 ** 31));

  beforeAll(async () => {
    program = await install();
    if (program === undefined) return;
    berth = await TestBerth.start();
    // Never released, so that nothing that is asked for starts a program; and there, so that most requests reach what they are about.
    await berth.client.createStack({ body: { name: "known" } });
    const created = await fetch(`${berth.url}/api/v1/stacks/known/components/idle`, {
      method: "PUT",
      headers: { authorization: `Bearer ${berth.token}`, "content-type": "application/json" },
      body: JSON.stringify(defaultSpec("worker")),
    });
    if (!created.ok) throw new Error(await created.text());
    config = join(folder, "schemathesis.toml");
    const paths = { stack: ["known", "a"], component: ["idle", "a"], build: [1, 2], release: [1, 2], rollout: [1, 2], task: [1, 2] };
    writeFileSync(
      config,
      `[parameters]\n${Object.entries(paths)
        .map(([name, values]) => `"path.${name}" = ${JSON.stringify(values)}\n`)
        .join("")}[checks]\nnegative_data_rejection.expected-statuses = ["4xx"]\n`,
    );
  }, 480_000);
  afterAll(async () => {
    await berth?.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 180_000);

  /** On a busy machine the time may be over before much was asked: then it gets more of it. */
  async function search(token: string | undefined, within: number): Promise<void> {
    let cases = 0;
    for (let seconds = within; cases <= fewest && seconds <= longest * within; seconds *= 2) cases = await searchFor(token, seconds);
    expect(cases).toBeGreaterThan(fewest);
  }

  /** How many requests it made; fails for whatever was found. */
  async function searchFor(token: string | undefined, within: number): Promise<number> {
    const args = [
      ...["--config-file", config, "run", `${berth.url}/api/v1/openapi.json`],
      ...(token === undefined ? [] : ["-H", `Authorization: Bearer ${token}`]),
      ...["--checks", checks.join(), "--phases", phases, "--max-time", String(within), "--max-examples", String(examples)],
      ...["--seed", String(seed), "--request-timeout", "30", "--generation-database", "none", "--no-color", "--warnings", "off"],
      ...["--generation-allow-x00", "false", "--suppress-health-check", "all"],
      ...apart.flatMap((name) => ["--exclude-operation-id", name]),
    ];
    const { code, said } = await new Promise<{ code: number; said: string }>((resolve) => {
      execFile(
        program ?? "",
        args,
        { cwd: folder, timeout: (within + 240) * 1000, maxBuffer: 64 * 1024 * 1024, env: { ...process.env, NO_PROXY: "127.0.0.1" } },
        (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, said: stdout + stderr });
        },
      );
    });
    const cases = Number(/(\d+) generated/.exec(said)?.[1] ?? 0);
    expect(code, `seed ${seed}\n${said.slice(0, 4000)}\n...\n${said.slice(-4000)}`).toBe(0);
    console.log(`schemathesis: ${cases} requests, seed ${seed}`);
    expect(berth.failedRequests()).toEqual([]);
    return cases;
  }

  const missing = "needs python3 with venv and pip, and schemathesis from PyPI";
  const limit = (within: number): number => (2 * longest * within + 600) * 1000;
  test("the administrator finds nothing but what is described", { timeout: limit(seconds.admin) }, async ({ skip }) => {
    if (program === undefined) skip(missing);
    await search(berth.token, seconds.admin);
  });
  const { reader, nobody } = seconds;
  if (reader !== undefined)
    test("a token that may only read finds nothing else either", { timeout: limit(reader) }, async ({ skip }) => {
      if (program === undefined) skip(missing);
      const { secret } = await berth.client.createToken({ body: { name: "reader", scopes: ["stacks.read"] } });
      await search(secret, reader);
    });
  test("nor does nobody", { timeout: limit(nobody) }, async ({ skip }) => {
    if (program === undefined) skip(missing);
    await search(undefined, nobody);
  });
}
