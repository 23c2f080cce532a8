// What a call of the client can fail with. Browser-safe.
import type { Problem } from "./errors.ts";
import { parseJson } from "./json.ts";

/** The server answered with problem details (RFC 9457). */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly detail: string;
  readonly hint: string | undefined;
  readonly requestId: string | undefined;

  constructor(problem: Partial<Problem> & Pick<Problem, "status" | "code" | "detail">) {
    super(problem.detail);
    this.name = "ApiError";
    this.status = problem.status;
    this.code = problem.code;
    this.params = problem.params ?? {};
    this.detail = problem.detail;
    this.hint = problem.hint === "" ? undefined : problem.hint;
    this.requestId = problem.requestId;
  }
}

/** `server_unreachable`: nothing answers at the address. `connection_lost`: it did, and the connection broke; what was asked may or may not have happened. `not_berth`: something else answers there. */
export type ConnectionErrorCode = "server_unreachable" | "connection_lost" | "not_berth";

/** No answer came from a Berth server. */
export class ConnectionError extends Error {
  readonly code: ConnectionErrorCode;
  readonly url: string;
  /** What the platform said, for people: `connect ECONNREFUSED 127.0.0.1:7420`. */
  readonly reason: string;

  constructor(code: ConnectionErrorCode, url: string, reason: string, options?: ErrorOptions) {
    super(`${code}: ${url}: ${reason}`, options);
    this.name = "ConnectionError";
    this.code = code;
    this.url = url;
    this.reason = reason;
  }
}

const unreachable = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);

/** A failure of fetch as a coded error; an abort stays what it is. */
export function connectionError(error: unknown, url: string): unknown {
  if (!(error instanceof Error) || error.name === "AbortError" || error.name === "TimeoutError") return error;
  const cause = error.cause instanceof AggregateError ? (error.cause.errors[0] as unknown) : error.cause;
  const code = codeOf(cause) ?? codeOf(error);
  const reason = cause instanceof Error ? cause.message : error.message;
  // Ports that fetch itself never connects to come as a text only.
  return new ConnectionError(
    (code !== undefined && unreachable.has(code)) || reason === "bad port" ? "server_unreachable" : "connection_lost",
    url,
    reason,
    { cause: error },
  );
}

function codeOf(error: unknown): string | undefined {
  return typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** The error in an answer that is not a success. */
export async function answerError(answer: Response, url: string): Promise<Error> {
  const text = await answer.text();
  const type = answer.headers.get("content-type") ?? "";
  const body: unknown = type.includes("json") ? parseJson(text) : undefined;
  if (
    typeof body === "object" &&
    body !== null &&
    "code" in body &&
    typeof body.code === "string" &&
    "detail" in body &&
    typeof body.detail === "string"
  ) {
    return new ApiError({ ...body, status: answer.status, code: body.code, detail: body.detail });
  }
  return new ConnectionError("not_berth", url, `HTTP ${answer.status}${type === "" ? "" : `, ${type}`}`);
}
