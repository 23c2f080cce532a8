// From any failure to its exit code and to what a person reads: what happened, and what to do next. Never shows a stack trace unless BERTH_DEBUG is set.
import { ApiError, ConnectionError } from "@berth/contract/client-errors.ts";
import { isLocal } from "./credentials.ts";
import { Failure, GaveUp, Interrupted, exitCodes } from "./failure.ts";
import { duration } from "./output/time.ts";
import type { Say } from "./text/say.ts";

export interface Told {
  readonly exitCode: number;
  readonly detail: string;
  readonly lines: readonly string[];
  readonly next: string | undefined;
}
export interface Circumstances {
  readonly say: Say;
  readonly serverUrl: string;
  readonly signedIn: boolean;
  readonly tokenGiven: boolean;
  readonly guessedFrom: string | undefined;
  /** How to watch work that goes on. */
  readonly watch: string | undefined;
}

export function tell(error: unknown, at: Circumstances): Told {
  const { say } = at;
  if (error instanceof Failure) return { exitCode: error.exitCode, detail: error.message, lines: error.lines, next: error.next };
  if (error instanceof Interrupted)
    return {
      exitCode: exitCodes.interrupted,
      detail: say("interrupted"),
      lines: [],
      next: at.watch === undefined ? undefined : say("work_goes_on", { watch: at.watch }),
    };
  if (error instanceof GaveUp)
    return {
      exitCode: exitCodes.gaveUp,
      detail: say("gave_up", { after: duration(error.after) }),
      lines: [],
      next: at.watch === undefined ? undefined : say("work_goes_on", { watch: at.watch }),
    };
  if (error instanceof ApiError) return tellApi(error, at);
  if (error instanceof ConnectionError) return tellConnection(error, at);
  const reason = error instanceof Error ? error.message : String(error);
  return { exitCode: exitCodes.failed, detail: say("internal", { reason }), lines: [], next: say("internal_next") };
}

function tellApi(error: ApiError, at: Circumstances): Told {
  const { say } = at;
  if (error.code === "unauthenticated" && !at.signedIn)
    return {
      exitCode: exitCodes.notAllowed,
      detail: say("not_signed_in", { url: at.serverUrl }),
      lines: [],
      next: isLocal(at.serverUrl) ? say("sign_in_local") : say("sign_in", { url: at.serverUrl }),
    };
  const lines = [
    ...(error.code === "not_found" && error.params["kind"] === "stack" && at.guessedFrom !== undefined
      ? [say("stack_guessed", { stack: String(error.params["name"]), origin: at.guessedFrom })]
      : []),
    ...problemsIn(error),
    ...(error.status >= 500 && error.requestId !== undefined ? [say("request_id", { requestId: error.requestId })] : []),
  ];
  return { exitCode: exitOf(error.status, error.code), detail: error.detail, lines, next: error.hint };
}

/** A Compose file's other problems, when there are more than the one in `detail`. */
function problemsIn(error: ApiError): string[] {
  const { problems } = error.params;
  if (!Array.isArray(problems)) return [];
  return problems.flatMap((problem: unknown) =>
    typeof problem === "object" &&
    problem !== null &&
    "detail" in problem &&
    typeof problem.detail === "string" &&
    problem.detail !== error.detail
      ? [problem.detail]
      : [],
  );
}

function exitOf(status: number, code: string): number {
  if (status === 401 || status === 403 || status === 404) return exitCodes.notAllowed;
  return code === "invalid_request" || code === "invalid_name" ? exitCodes.usage : exitCodes.failed;
}

function tellConnection(error: ConnectionError, at: Circumstances): Told {
  const { say } = at;
  const params = { url: at.serverUrl, reason: error.reason };
  switch (error.code) {
    case "server_unreachable":
      return {
        exitCode: exitCodes.failed,
        detail: say("unreachable", params),
        lines: [],
        next: isLocal(at.serverUrl) ? say("unreachable_next_local") : say("unreachable_next"),
      };
    case "connection_lost":
      return { exitCode: exitCodes.failed, detail: say("connection_lost", params), lines: [], next: say("connection_lost_next") };
    case "not_berth":
      return { exitCode: exitCodes.failed, detail: say("not_berth", params), lines: [], next: say("not_berth_next") };
    default:
      return error.code satisfies never;
  }
}
