// The one error class that crosses module borders: a code of the contract's catalogue, parameters, and (for the log only) a cause.
import type { ErrorCode } from "@berth/contract/errors.ts";

export class BerthError extends Error {
  readonly code: ErrorCode;
  readonly params: Record<string, string | number | boolean>;
  constructor(code: ErrorCode, params: Record<string, string | number | boolean> = {}, options: { cause?: unknown } = {}) {
    super(`${code} ${JSON.stringify(params)}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BerthError";
    this.code = code;
    this.params = params;
  }
}
