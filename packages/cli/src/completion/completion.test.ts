import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Refusal, startApi, type TestApi } from "../testing/api.ts";
import { Cli } from "../testing/cli.ts";
import { aComponent, aStack } from "../testing/objects.ts";
import { scripts } from "./scripts.ts";

let api: TestApi;
let cli: Cli;
beforeEach(async () => {
  api = await startApi(
    {
      listStacks: () => ({ items: [aStack(), aStack({ name: "blog" })] }),
      listComponents: ({ params }) => {
        if (params.stack === "gone") throw new Refusal("not_found", { kind: "stack", name: "gone", hint: "" });
        return { items: [aComponent(), aComponent({ name: `api-of-${params.stack}` })] };
      },
    },
    { token: "t" },
  );
  cli = await Cli.create(api.url);
});
afterEach(async () => {
  await cli.remove();
  await api.close();
});

async function candidates(...words: string[]): Promise<string[]> {
  const ran = await cli.run(["__complete", "--", ...words]);
  expect([ran.code, ran.err]).toEqual([0, ""]);
  return ran.out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t")[0] ?? "");
}

describe("completion", () => {
  it("offers daily verbs and nouns, then a noun's verbs", async () => {
    expect(await candidates("")).toEqual(expect.arrayContaining(["up", "stacks", "known-hosts", "help"]));
    expect(await candidates("stacks", "")).toEqual(expect.arrayContaining(["list", "delete"]));
    expect(await candidates("help", "")).toContain("exit-codes");
    expect(await candidates("server", "")).toContain("start");
    expect(await candidates("events", "")).toEqual(["list", "watch"]);
  });

  it("offers a command's own options, not the hidden ones", async () => {
    const options = await candidates("logs", "--");
    expect(options).toEqual(expect.arrayContaining(["--follow", "--stack", "--json"]));
    expect(options).not.toContain("--yes");
    expect(await candidates("exec", "-c", "web", "--", "--")).toEqual([]);
  });

  it("asks the server for stacks and components, of the stack that the line names", async () => {
    expect(await candidates("status", "-s", "")).toEqual(["shop", "blog"]);
    expect(await candidates("stacks", "delete", "")).toEqual(["shop", "blog"]);
    expect(await candidates("logs", "-c", "")).toEqual(["web", "api-of-shop"]);
    expect(await candidates("restart", "-s", "blog", "")).toEqual(["web", "api-of-blog"]);
    expect(await candidates("restart", "web", "")).toEqual(["web", "api-of-shop"]);
  });

  it("leaves files and folders to the shell, and fixed words are its own", async () => {
    expect(await candidates("up", "")).toEqual([":folders"]);
    expect(await candidates("up", "--file", "")).toEqual([":files"]);
    expect(await candidates("stacks", "list", "--state", "")).toContain("degraded");
    expect(await candidates("completion", "")).toEqual(["bash", "zsh", "fish"]);
    expect(await candidates("logs", "--tail", "")).toEqual([]);
  });

  it("is silent when the server knows nothing, is away, or the words make no sense", async () => {
    expect(await candidates("logs", "-s", "gone", "-c", "")).toEqual([]);
    expect(await candidates("logs", "--server", "x", "frobnicate", "--", "x")).toEqual([]);
    const away = await cli.run(["__complete", "--", "status", "-s", ""], { env: { BERTH_SERVER: "http://127.0.0.1:1" } });
    expect(away).toEqual({ code: 0, out: "", err: "" });
  });
});

const has = (shell: string): boolean => spawnSync(shell, ["--version"]).status === 0;
const syntax: Readonly<Record<keyof typeof scripts, readonly string[]>> = { bash: ["-n"], zsh: ["-n"], fish: ["--no-execute"] };

describe.each(Object.keys(scripts) as (keyof typeof scripts)[])("the script for %s", (shell) => {
  it("is printed by `berth completion`", async () => {
    expect((await cli.run(`completion ${shell}`)).out).toBe(scripts[shell]);
  });
  it.skipIf(!has(shell))("is understood by the shell", () => {
    const folder = mkdtempSync(join(tmpdir(), "berth-completion-"));
    try {
      writeFileSync(join(folder, "script"), scripts[shell]);
      expect(spawnSync(shell, [...syntax[shell], join(folder, "script")], { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe.skipIf(!has("bash"))("bash", () => {
  it("turns the answers into candidates that begin with what was typed", () => {
    const complete = (words: string, answer: string): string[] =>
      execFileSync(
        "bash",
        [
          "-c",
          `${scripts.bash}
berth() { printf '%s\\n' "$*" >&2; printf '${answer}'; }
COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _berth; printf '%s\\n' "\${COMPREPLY[@]}"`,
        ],
        { encoding: "utf8", cwd: "/", stdio: ["ignore", "pipe", "ignore"] },
      )
        .split("\n")
        .filter((line) => line !== "");
    expect(complete("berth sta", "stacks\\tmany\\nstatus\\tone\\nup\\tx\\n")).toEqual(["stacks", "status"]);
    expect(complete('berth up ""', ":folders\\n")).toContain("etc");
    expect(complete("berth nothing x", "")).toEqual([]);
  });
});
