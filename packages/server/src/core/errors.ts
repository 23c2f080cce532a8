// The one error class that crosses module borders: a code of the contract's catalogue, parameters, and (for the log only) a cause.
import type { ErrorCode } from "@berth/contract/errors.ts";

export class BerthError extends Error {
  readonly code: ErrorCode;
  readonly params: Record<string, string | number | boolean>;
  /** More than a sentence can hold, for the problem's `params.details`: every problem of a Compose file, for instance. */
  readonly details: unknown;
  constructor(
    code: ErrorCode,
    params: Record<string, string | number | boolean> = {},
    options: { cause?: unknown; details?: unknown } = {},
  ) {
    super(`${code} ${JSON.stringify(params)}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BerthError";
    this.code = code;
    this.params = params;
    this.details = options.details;
  }
}
