// `berth doctor`: checks from here (programs, credentials, whether the server answers), then the server's own.
import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ApiError, ConnectionError } from "@berth/contract/client-errors.ts";
import type { Check } from "@berth/contract/resources/installation.ts";
import type { Context } from "./context.ts";
import { isCode, isLocal } from "./credentials.ts";
import { exitCodes } from "./failure.ts";
import { localServer, serverDoctor, serverProgram } from "./localserver.ts";
import { duration } from "./output/time.ts";
import { version } from "./version.ts";

const execute = promisify(execFile);

export async function doctor(ctx: Context): Promise<number> {
  const checks = [...(await localChecks(ctx)), ...(await serverChecks(ctx))];
  if (ctx.out.json) ctx.out.object({ checks });
  else ctx.out.lines([...checks.flatMap((check) => checkLines(ctx, check)), "", summary(checks)]);
  return checks.some((check) => check.status === "failed") ? exitCodes.failed : exitCodes.done;
}

function checkLines(ctx: Context, check: Check): string[] {
  const { paint } = ctx.out;
  const mark = check.status === "ok" ? paint.good("ok     ") : check.status === "warning" ? paint.warn("warning") : paint.bad("failed ");
  return [
    `${mark}  ${paint.bold(check.name)}: ${check.found}`,
    ...(check.status === "ok" || check.why === undefined ? [] : [`         ${check.why}`]),
    ...(check.status === "ok" || check.next === undefined ? [] : [`         ${paint.bold("Next:")} ${check.next}`]),
  ];
}

function summary(checks: readonly Check[]): string {
  const count = (status: Check["status"]): number => checks.filter((check) => check.status === status).length;
  const [failed, warnings] = [count("failed"), count("warning")];
  if (failed + warnings === 0) return "All is well.";
  const doubts = warnings === 0 ? "" : `${String(warnings)} could be better`;
  return failed === 0 ? `Nothing is broken; ${doubts}.` : `${String(failed)} broken${doubts === "" ? "" : `, ${doubts}`}.`;
}

async function localChecks(ctx: Context): Promise<Check[]> {
  return [
    { name: "command line", status: "ok", found: `berth ${version}, Node.js ${process.versions.node}, Linux ${release()}` },
    await gitCheck(),
    await credentialsCheck(ctx),
  ];
}

async function gitCheck(): Promise<Check> {
  try {
    const { stdout } = await execute("git", ["--version"], { timeout: 5000 });
    return { name: "git here", status: "ok", found: stdout.trim() };
  } catch (error) {
    return {
      name: "git here",
      status: "warning",
      found: isCode(error, "ENOENT") ? "not installed here" : "does not run",
      next: "Install git, so that sources are recorded with revision and author.",
    };
  }
}

async function credentialsCheck(ctx: Context): Promise<Check> {
  const file = join(ctx.surroundings.configDir, "credentials.json");
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0)
      return { name: "credentials", status: "failed", found: `${file} may be read by others`, next: `Run: chmod 600 ${file}` };
    return { name: "credentials", status: "ok", found: file };
  } catch (error) {
    if (!isCode(error, "ENOENT")) throw error;
    return {
      name: "credentials",
      status: ctx.settings.token === undefined ? "warning" : "ok",
      found: ctx.settings.token === undefined ? "none are remembered" : "given by BERTH_TOKEN or --token",
      next: "Run `berth login`.",
    };
  }
}

async function serverChecks(ctx: Context): Promise<Check[]> {
  const { serverUrl, token } = ctx.settings;
  const started = performance.now();
  try {
    const api = await ctx.api();
    const installation = await api.showInstallation({}, { signal: ctx.signal });
    const skew = Date.parse(installation.now) - ctx.now().getTime();
    const answers: Check[] = [
      {
        name: "server",
        status: "ok",
        found: `${serverUrl} answers (version ${installation.version}, ${duration(performance.now() - started)})`,
      },
      Math.abs(skew) < 30_000
        ? { name: "clock", status: "ok", found: "agrees with the server's" }
        : {
            name: "clock",
            status: "warning",
            found: `differs by ${duration(Math.abs(skew))} from the server's`,
            next: "Turn on time synchronisation (NTP).",
          },
      ...(installation.version === version
        ? []
        : [
            {
              name: "versions",
              status: "warning" as const,
              found: `command line ${version}, server ${installation.version}`,
              next: "Use the command line of the server's version.",
            },
          ]),
    ];
    if (token === undefined)
      return [
        ...answers,
        { name: "sign-in", status: "failed", found: `you are not signed in to ${serverUrl}`, next: "Run `berth login`." },
      ];
    return [...answers, ...(await api.runDoctor({}, { signal: ctx.signal })).checks];
  } catch (error) {
    if (error instanceof ApiError)
      return [
        { name: "server", status: "failed", found: error.detail, ...(error.hint === undefined ? {} : { next: error.hint }) },
        // What it says itself is that it cannot do its work; why, the home folder may tell.
        ...(error.status >= 500 ? await homeChecks(ctx) : []),
      ];
    if (!(error instanceof ConnectionError)) throw error;
    const [next, found] = await Promise.all([whyNoServer(ctx), homeChecks(ctx)]);
    // What the home folder knows of its own server is the same finding, told better.
    const own = found.find((one) => one.name === "server process" && one.status !== "ok");
    const ofHome = found.filter((one) => one !== own);
    return [
      {
        name: "server",
        status: "failed",
        found: `${serverUrl} does not answer (${error.reason})${own === undefined ? "" : `: ${own.found}`}`,
        why: "Nothing can be deployed, changed or asked; what runs goes on running.",
        next: own?.next ?? next,
      },
      ...ofHome,
    ];
  }
}

/** What the server's program finds on this machine; nothing where the server is meant to be elsewhere, or is another home's. */
async function homeChecks(ctx: Context): Promise<Check[]> {
  return isLocal(ctx.settings.serverUrl) ? ((await serverDoctor()) ?? []) : [];
}

async function whyNoServer(ctx: Context): Promise<string> {
  if (!isLocal(ctx.settings.serverUrl)) return "Check the address, your network and any proxy in between.";
  if (serverProgram() === undefined) return "Name the server with --server or BERTH_SERVER.";
  const own = await localServer();
  if (own?.running === true && own.url !== undefined)
    return `A server of this machine answers at ${own.url}: use --server ${own.url}, or \`berth login --server ${own.url}\`.`;
  return own === undefined
    ? "Start it with `berth server start`."
    : `Start it with \`berth server start\`; its log is ${join(own.home, "logs", "server.log")}.`;
}
