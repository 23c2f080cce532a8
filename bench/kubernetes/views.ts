// Asks views as people's clients do, ten at once over connections that stay, by wrk: what asks costs the machine as little as can be.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

export interface Asked {
  /** Answers a second. */
  readonly rate: number;
  /** ms */
  readonly p50: number;
  readonly p99: number;
}

const script = `
local paths = {}
for line in io.lines("PATHS") do paths[#paths + 1] = line end
local asked = 0
request = function() asked = asked + 1; return wrk.format("GET", paths[asked % #paths + 1]) end
`;

/** Each path in turn. Throws when one was not answered well. */
export async function askViews(
  { url, token }: { readonly url: string; readonly token: string },
  paths: readonly string[],
  { clients, seconds }: { readonly clients: number; readonly seconds: number },
): Promise<Asked> {
  const folder = mkdtempSync(join(tmpdir(), "berth-views-"));
  try {
    writeFileSync(join(folder, "paths"), paths.join("\n"));
    writeFileSync(join(folder, "ask.lua"), script.replace("PATHS", join(folder, "paths")));
    const { stdout } = await promisify(execFile)("nice", [
      ...["-n", "-10", "wrk", "-t1", `-c${String(clients)}`, `-d${String(seconds)}s`, "--latency"],
      ...["-s", join(folder, "ask.lua"), "-H", `authorization: Bearer ${token}`, url],
    ]);
    if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`views were not answered well:\n${stdout}`);
    return {
      rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? NaN),
      p50: milliseconds(/50%\s+([\d.]+)(us|ms|s)/.exec(stdout)),
      p99: milliseconds(/99%\s+([\d.]+)(us|ms|s)/.exec(stdout)),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function milliseconds(match: RegExpExecArray | null): number {
  const factor = match?.[2] === "s" ? 1_000 : match?.[2] === "ms" ? 1 : 0.001;
  return Number(match?.[1] ?? NaN) * factor;
}
