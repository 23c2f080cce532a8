// A command is data: what it is called, what it takes, how it is explained, and what it does. Tree, help and completion are made from it.
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { parseDuration, parseInstant } from "./output/time.ts";

/** What completion offers for a value: names of the server, files, or fixed words. */
export type Completes = "stack" | "component" | "folder" | "file" | readonly string[];

export interface Option<T> {
  /** As commander writes them: `-f, --follow`, `--tail <n>`. */
  readonly flags: string;
  readonly summary: string;
  readonly list: boolean;
  readonly read: (raw: unknown, now: Date) => T;
  readonly completes?: Completes;
}
export interface Argument<T> {
  readonly summary: string;
  readonly required: boolean;
  readonly rest: boolean;
  readonly read: (raw: unknown, name: string) => T;
  readonly completes?: Completes;
}

type Options = Readonly<Record<string, Option<unknown>>>;
type Arguments = Readonly<Record<string, Argument<unknown>>>;
type Values<S> = { readonly [K in keyof S]: S[K] extends Option<infer T> ? T : S[K] extends Argument<infer T> ? T : never };

/** `none`: of the installation. `stack`: takes -s. `component`: takes -s and -c. */
export type Scope = "none" | "stack" | "component";

export interface Command {
  /** `["stacks", "list"]`, or one word for a daily verb. */
  readonly path: readonly string[];
  /** The same command standing alone, e.g. `scale` for `components scale`. */
  readonly daily?: string;
  readonly scope: Scope;
  /** Follows work in the server: takes --no-wait. */
  readonly waits?: true;
  /** May ask before it does something: --yes answers. */
  readonly asks?: true;
  /** Options after the first argument belong to the command that is run. */
  readonly passesThrough?: true;
  /** All arguments go on as they are, even --help. */
  readonly raw?: true;
  readonly hidden?: true;
  readonly summary: string;
  readonly description?: string;
  readonly arguments: Arguments;
  readonly options: Options;
  /** Command line and what it does. */
  readonly examples: readonly (readonly [string, string])[];
  readonly run: (
    ctx: Context,
    input: { readonly arguments: Readonly<Record<string, unknown>>; readonly options: Readonly<Record<string, unknown>> },
  ) => Promise<number | void>;
}

type Definition<A extends Arguments, O extends Options> = Omit<Command, "arguments" | "options" | "run"> & {
  readonly arguments?: A;
  readonly options?: O;
  /** Resolves with the exit code; nothing = 0. */
  readonly run: (ctx: Context, input: { readonly arguments: Values<A>; readonly options: Values<O> }) => Promise<number | void>;
};

/** Checks a command's definition: `run` gets its arguments and options with the types that they declare. */
export function defineCommand<const A extends Arguments = Record<never, never>, const O extends Options = Record<never, never>>(
  definition: Definition<A, O>,
): Command {
  return {
    ...definition,
    arguments: definition.arguments ?? {},
    options: definition.options ?? {},
    // program.ts fills both from the same specs, each value through its own `read`.
    run: (ctx, input) => definition.run(ctx, input as { arguments: Values<A>; options: Values<O> }),
  };
}

export function flag(flags: string, summary: string): Option<boolean> {
  return { flags, summary, list: false, read: (raw) => raw === true };
}

/** `text("--ref <ref>", …)`. */
export function text(flags: string, summary: string, completes?: Completes): Option<string | undefined> {
  return {
    flags,
    summary,
    list: false,
    read: (raw) => (typeof raw === "string" ? raw : undefined),
    ...(completes === undefined ? {} : { completes }),
  };
}

/** May be given several times. */
export function texts(flags: string, summary: string, completes?: Completes): Option<readonly string[]> {
  return {
    flags,
    summary,
    list: true,
    read: (raw) => (Array.isArray(raw) ? raw.map(String) : []),
    ...(completes === undefined ? {} : { completes }),
  };
}

export function integer(flags: string, summary: string, least = 0): Option<number | undefined> {
  return {
    flags,
    summary,
    list: false,
    read: (raw) => {
      if (raw === undefined) return undefined;
      const value = Number(raw);
      if (typeof raw !== "string" || !/^\d+$/.test(raw) || value < least)
        throw new UsageError(`${longName(flags)} wants a whole number${least > 0 ? ` of at least ${least}` : ""}, not \`${String(raw)}\`.`);
      return value;
    },
  };
}

/** Milliseconds. */
export function time(flags: string, summary: string): Option<number | undefined> {
  return {
    flags,
    summary,
    list: false,
    read: (raw) => {
      if (raw === undefined) return undefined;
      const value = parseDuration(String(raw));
      if (value === undefined)
        throw new UsageError(`${longName(flags)} wants a duration, not \`${String(raw)}\`.`, "Write it like 30s, 10m or 1h30m.");
      return value;
    },
  };
}

/** RFC 3339. */
export function instant(flags: string, summary: string): Option<string | undefined> {
  return {
    flags,
    summary,
    list: false,
    read: (raw, now) => {
      if (raw === undefined) return undefined;
      const value = parseInstant(String(raw), now);
      if (value === undefined)
        throw new UsageError(
          `${longName(flags)} wants a time, not \`${String(raw)}\`.`,
          "Write how long ago (10m, 2h), a date, or an instant like 2026-01-31T12:00:00Z.",
        );
      return value;
    },
  };
}

/** One of a few words. */
export function choice<const C extends string>(flags: string, summary: string, choices: readonly C[]): Option<C | undefined> {
  return {
    flags,
    summary,
    list: false,
    completes: choices,
    read: (raw) => {
      if (raw === undefined) return undefined;
      const found = choices.find((candidate) => candidate === raw);
      if (found === undefined) throw new UsageError(`${longName(flags)} cannot be \`${String(raw)}\`.`, `Possible: ${choices.join(", ")}.`);
      return found;
    },
  };
}

export function required(summary: string, completes?: Completes): Argument<string> {
  return { summary, required: true, rest: false, read: (raw) => String(raw), ...(completes === undefined ? {} : { completes }) };
}

export function optional(summary: string, completes?: Completes): Argument<string | undefined> {
  return {
    summary,
    required: false,
    rest: false,
    read: (raw) => (typeof raw === "string" ? raw : undefined),
    ...(completes === undefined ? {} : { completes }),
  };
}

/** The number of a release, rollout, build or task; `v12` and `#12` are understood. */
export function ordinal(summary: string): Argument<number> {
  return { summary, required: true, rest: false, read: readOrdinal };
}

export function rest(summary: string, completes?: Completes): Argument<readonly string[]> {
  return {
    summary,
    required: false,
    rest: true,
    read: (raw) => (Array.isArray(raw) ? raw.map(String) : []),
    ...(completes === undefined ? {} : { completes }),
  };
}

export function readOrdinal(raw: unknown, name: string): number {
  const digits = /^[v#]?([1-9]\d{0,9})$/.exec(String(raw))?.[1];
  if (digits === undefined) throw new UsageError(`${name} wants a number, not \`${String(raw)}\`.`);
  return Number(digits);
}

/** `--tail` of `-n, --tail <n>`. */
export function longName(flags: string): string {
  return /--[a-z-]+/.exec(flags)?.[0] ?? flags;
}
