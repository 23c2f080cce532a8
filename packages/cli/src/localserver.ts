// The server program that came with this command line: where it is, and passing `berth server …` on to it. It is a program of its own, never imported.
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import type { Check } from "@berth/contract/resources/installation.ts";
import { Failure, exitCodes } from "./failure.ts";

const execute = promisify(execFile);

/** Beside the built command line, or in a source checkout; undefined where only the command line is installed. */
export function serverProgram(from: string = import.meta.dirname): string | undefined {
  return ["server.js", "../server.js", "../../server/src/main.ts"].map((path) => join(from, path)).find((path) => existsSync(path));
}

/** Runs the server's program with our terminal; resolves with its exit code. */
export async function delegate(args: readonly string[]): Promise<number> {
  const program = serverProgram();
  if (program === undefined)
    throw new Failure(exitCodes.failed, "The server is not installed here, only the command line.", {
      next: "Run this on the server's machine, or install Berth.",
    });
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], { stdio: "inherit" });
  // Ctrl-C reaches the child through the terminal; SIGTERM has to be passed on. We leave when it leaves.
  const stay = (): void => undefined;
  const passOn = (): void => {
    child.kill("SIGTERM");
  };
  process.on("SIGINT", stay).on("SIGTERM", passOn);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on("error", reject).on("exit", (code, signal) => {
        resolve(code ?? (signal === "SIGINT" ? exitCodes.interrupted : exitCodes.failed));
      });
    });
  } finally {
    process.off("SIGINT", stay).off("SIGTERM", passOn);
  }
}

export interface LocalServer {
  readonly running: boolean;
  readonly home: string;
  readonly url?: string;
  readonly pid?: number;
  readonly version?: string;
}

/** What the server's program says of this user's server on this machine; undefined when it says nothing. */
export async function localServer(): Promise<LocalServer | undefined> {
  const text = await ask(["server", "status", "--json"]);
  if (text === undefined) return undefined;
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null && "home" in value && typeof value.home === "string" && "running" in value
    ? (value as LocalServer)
    : undefined;
}

/** What it finds wrong with this user's home folder, also while no server runs; undefined when it says nothing. */
export async function serverDoctor(): Promise<Check[] | undefined> {
  const text = await ask(["server", "doctor", "--json"]);
  return text === undefined ? undefined : (JSON.parse(text) as { readonly checks: Check[] }).checks;
}

/** A new one-time administrator token; undefined when this user may not make one. */
export async function oneTimeToken(): Promise<string | undefined> {
  return (await ask(["server", "token"]))?.trim().split("\n").at(-1);
}

/** Its output, whatever its exit code; undefined when there is none. */
async function ask(args: readonly string[]): Promise<string | undefined> {
  const program = serverProgram();
  if (program === undefined) return undefined;
  try {
    const { stdout } = await execute(process.execPath, [...process.execArgv, program, ...args], { timeout: 30_000 });
    return stdout;
  } catch (error) {
    const output = typeof error === "object" && error !== null && "stdout" in error && typeof error.stdout === "string" ? error.stdout : "";
    return args.includes("--json") && output.trimStart().startsWith("{") ? output : undefined;
  }
}
