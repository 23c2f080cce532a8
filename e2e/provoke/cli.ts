// The built command line as a user runs it, against one Berth of the tests. Never touches the credentials of whoever runs the tests.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { commandProgram, type Files, type TestBerth } from "../harness.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** ms */
  readonly took: number;
}

/** Never rejects: whatever the command ends with is the answer. */
export function berthCommand(
  berth: TestBerth,
  args: readonly string[],
  cwd = berth.home,
  more: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const started = performance.now();
  const { PATH = "/usr/bin:/bin" } = process.env;
  const env = {
    PATH,
    LANG: "C.UTF-8",
    HOME: join(berth.home, "nobody"),
    BERTH_SERVER: berth.url,
    BERTH_TOKEN: berth.token,
    NO_COLOR: "1",
    ...more,
  };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", commandProgram, ...args],
      { cwd, env, timeout: 150_000, maxBuffer: 10_000_000 },
      (error, out, err) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        resolve({ code, out, err, took: performance.now() - started });
      },
    ).stdin?.end();
  });
}

/** A project's folder below the home of the tests' Berth, which goes with it. */
export function projectFolder(berth: TestBerth, files: Files): string {
  const folder = mkdtempSync(join(berth.home, "project-"));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}
