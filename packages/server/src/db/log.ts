// The logger that state code asks for: the part of pino's interface that it uses. Must never be given a password or a token.
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Discards everything; for callers that have nowhere to write to. */
export const silentLog: Log = { info() {}, warn() {}, error() {} };
