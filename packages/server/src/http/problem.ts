// Errors as callers see them: problem details (RFC 9457) from the catalogue. What is not in the catalogue is `internal`, with its details in the log only.
import { errors, type ErrorCode, type Problem } from "@berth/contract/errors.ts";
import { fill } from "@berth/contract/causes.ts";
import { renderCause } from "@berth/contract/causes.ts";
import { BerthError } from "../core/errors.ts";
import { databaseError } from "../db/transaction.ts";
import { EngineFailure } from "../engines/engine.ts";

/** The coded error that an unknown one stands for. */
export function codedError(error: unknown): BerthError {
  if (error instanceof BerthError) return error;
  if (error instanceof EngineFailure)
    return new BerthError(
      "engine_unavailable",
      { cluster: String(error.failure.params["cluster"] ?? "local"), reason: renderCause(error.failure).sentence },
      { cause: error, details: error.failure },
    );
  const database = databaseError(error);
  if (database instanceof BerthError) return database;
  const { code } = error as { code?: unknown };
  if (code === "ENOSPC" || code === "EDQUOT") return new BerthError("storage_full", { what: "Berth's home folder" }, { cause: error });
  return fromFastify(error) ?? new BerthError("internal", {}, { cause: error });
}

function fromFastify(error: unknown): BerthError | undefined {
  const { code, statusCode, message } = error as { code?: unknown; statusCode?: unknown; message?: unknown };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE")
    return new BerthError("payload_too_large", { limit: bodyLimit, hint: "Send less, or in pieces." });
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") return new BerthError("unsupported_media_type", { type: "", wanted: "application/json" });
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500)
    return new BerthError("invalid_request", { reason: String(message).replace(/\.$/, "") });
  return undefined;
}

/** Bytes of a JSON body. */
export const bodyLimit = 16 * 1024 * 1024;

export function problemOf(error: BerthError, requestId: string): Problem {
  const entry = errors[error.code];
  const params = { ...error.params, ...(error.details === undefined ? {} : { details: error.details }) };
  const hint = fill(entry.hint, error.params);
  return {
    type: `/docs/errors#${error.code}`,
    title: error.code.replaceAll("_", " "),
    status: entry.status,
    code: error.code,
    detail: fill(entry.detail, error.params),
    ...(hint === "" ? {} : { hint }),
    ...(Object.keys(params).length === 0 ? {} : { params }),
    requestId,
  };
}

/** Seconds after which trying again makes sense, for `Retry-After` (RFC 9110, section 10.2.3); undefined = it would fail again. */
export function retryAfter(problem: Problem): number | undefined {
  if (problem.code === "too_many_requests") return Number(problem.params?.["seconds"] ?? 1);
  if (problem.status === 507) return 10;
  return problem.status === 503 ? 2 : undefined;
}

export function isErrorCode(code: string): code is ErrorCode {
  return code in errors;
}
