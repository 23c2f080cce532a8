// One look at an instance: an HTTP GET, a TCP connect or a command. Each answers within its timeout and says in one phrase what it saw.
import { request } from "node:http";
import { connect } from "node:net";
import type { Command, Probe } from "@berth/contract/spec.ts";

export interface CheckResult {
  readonly ok: boolean;
  readonly detail: string;
}
export interface CheckTarget {
  readonly host: string;
  /** The instance's own port; used unless the check names another. */
  readonly port: number | undefined;
  /** Port that the spec names -> port that the instance was given for it. */
  readonly mapped: Readonly<Record<number, number>>;
  /** Runs a command where the instance runs, as its user; answers with the exit code. */
  readonly run: (command: Command, signal: AbortSignal) => Promise<{ readonly code: number | undefined; readonly output: string }>;
}

/** Never rejects: whatever goes wrong is the answer. `signal` ends the check early with a failure. */
export async function check(probe: Probe["check"], target: CheckTarget, timeout: number, signal: AbortSignal): Promise<CheckResult> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeout)]);
  if (probe.type === "exec") return execCheck(probe.command, target, timeout, limit);
  const port = probe.port === undefined ? target.port : (target.mapped[probe.port] ?? probe.port);
  if (port === undefined) return { ok: false, detail: "no port to probe" };
  return probe.type === "tcp" ? tcpCheck(target.host, port, timeout, limit) : httpCheck(probe, target.host, port, timeout, limit);
}

const refusal = "connection refused";
const seen = (error: unknown, timeout: number, limit: AbortSignal): string => {
  if (limit.aborted) return `no answer within ${timeout} ms`;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return code === "ECONNREFUSED"
    ? refusal
    : code === "ECONNRESET"
      ? "connection closed without an answer"
      : error instanceof Error
        ? error.message
        : String(error);
};

/** Whether nobody takes a connection there now. */
export async function isRefused(host: string, port: number): Promise<boolean> {
  const within = 1_000;
  return (await tcpCheck(host, port, within, AbortSignal.timeout(within))).detail === refusal;
}

function tcpCheck(host: string, port: number, timeout: number, limit: AbortSignal): Promise<CheckResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (ok: boolean, detail: string): void => {
      limit.removeEventListener("abort", late);
      socket.destroy();
      resolve({ ok, detail });
    };
    const late = (): void => done(false, `no answer within ${timeout} ms`);
    socket.once("connect", () => done(true, `port ${port} accepts`));
    socket.on("error", (error) => done(false, seen(error, timeout, limit)));
    if (limit.aborted) late();
    else limit.addEventListener("abort", late, { once: true });
  });
}

function httpCheck(
  probe: Extract<Probe["check"], { type: "http" }>,
  host: string,
  port: number,
  timeout: number,
  limit: AbortSignal,
): Promise<CheckResult> {
  return new Promise((resolve) => {
    const headers = { host: `${host}:${port}`, "user-agent": "berth-probe", accept: "*/*", connection: "close", ...probe.headers };
    const ask = request({ host, port, path: probe.path, method: "GET", headers, agent: false, signal: limit });
    ask.once("response", (response) => {
      const status = response.statusCode ?? 0;
      // Passed from the headers on; the body is of no interest and may be endless.
      response.once("error", () => undefined);
      response.destroy();
      resolve({ ok: status >= 200 && status < 400, detail: `status ${status}` });
    });
    ask.on("error", (error) => resolve({ ok: false, detail: seen(error, timeout, limit) }));
    ask.end();
  });
}

async function execCheck(command: Command, target: CheckTarget, timeout: number, limit: AbortSignal): Promise<CheckResult> {
  try {
    const { code, output } = await target.run(command, limit);
    const said = output.trim().split("\n").at(-1)?.slice(0, 200) ?? "";
    return {
      ok: code === 0,
      detail: code === undefined ? `no answer within ${timeout} ms` : `exit code ${code}${said === "" ? "" : `: ${said}`}`,
    };
  } catch (error) {
    return { ok: false, detail: seen(error, timeout, limit) };
  }
}
