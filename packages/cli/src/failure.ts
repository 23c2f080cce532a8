// How a command fails: an exit code, one sentence, a next step. The exit codes are a promise to scripts (docs: `berth help exit-codes`).
export const exitCodes = { done: 0, failed: 1, usage: 2, notAllowed: 3, rolloutFailed: 4, gaveUp: 5, interrupted: 130 } as const;

/** A failure that is told as it is: `Error: <detail>`, the lines, `Next: <next>`. */
export class Failure extends Error {
  readonly exitCode: number;
  readonly next: string | undefined;
  /** Shown between sentence and next step. */
  readonly lines: readonly string[];

  constructor(
    exitCode: number,
    detail: string,
    more: { readonly next?: string | undefined; readonly lines?: readonly string[]; readonly cause?: unknown } = {},
  ) {
    super(detail, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = "Failure";
    this.exitCode = exitCode;
    this.next = more.next === "" ? undefined : more.next;
    this.lines = more.lines ?? [];
  }
}

/** The command line itself is wrong. */
export class UsageError extends Failure {
  constructor(detail: string, next?: string, lines?: readonly string[]) {
    super(exitCodes.usage, detail, { next, ...(lines === undefined ? {} : { lines }) });
    this.name = "UsageError";
  }
}

/** Reason of the abort signal: Ctrl-C or SIGTERM. */
export class Interrupted extends Error {
  constructor() {
    super("interrupted");
    this.name = "Interrupted";
  }
}

/** Reason of the abort signal: --timeout has passed. */
export class GaveUp extends Error {
  readonly after: number;
  constructor(after: number) {
    super("gave up waiting");
    this.name = "GaveUp";
    this.after = after;
  }
}
