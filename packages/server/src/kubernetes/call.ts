// One call to an API: its limits in time, its query, and when it may be tried again.
import { KubeError, KubeProtocolError, KubeTimeout, KubeUnreachable, unreachable } from "./errors.ts";

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface Call {
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** ms until the whole answer is there, retries included; 60 s unless told, Infinity for none. */
  readonly timeout?: number | undefined;
}

const defaultTimeout = 60_000;
const mostRetries = 8;
/** Of what says nothing of when to come again: little more than half a second in all. */
const shortRetries = 3;
/** ms. */
const firstWait = 100;

export interface Limit {
  readonly signal: AbortSignal;
  /** ms. */
  left(): number;
  clear(): void;
}

/** The caller's signal with a limit in time. It has to be cleared. */
export function limited(name: string, { signal, timeout = defaultTimeout }: Call): Limit {
  const late = new AbortController();
  const end = performance.now() + timeout;
  const expire = (): void => late.abort(unreachable(name, new KubeTimeout(`${String(timeout / 1_000)} s`)));
  const timer = timeout === Infinity ? undefined : setTimeout(expire, timeout);
  return {
    signal: signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]),
    left: () => end - performance.now(),
    clear: () => clearTimeout(timer),
  };
}

/** `always`: a question or an apply, which may be done twice. `undone`: only when the server says that it was not done. */
export type Repeatable = "always" | "undone";

/** ms until the next attempt; undefined: there is none. */
export function waitAfter(error: unknown, attempt: number, may: Repeatable): number | undefined {
  if (error instanceof KubeUnreachable)
    return error.code === "cut" && may === "always" && attempt < shortRetries ? (attempt === 0 ? 0 : shortWait(attempt)) : undefined;
  if (!(error instanceof KubeError) || attempt >= mostRetries) return undefined;
  // Sent away before anything of it was done, whatever it was. https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
  const isUndone = error.status === 429;
  if (error.retryAfter !== undefined && (isUndone || (error.status === 503 && may === "always")))
    // Those that were sent away together do not come back together.
    return error.retryAfter * (1 + Math.random() / 4);
  // One of several servers is in trouble, or what stands before them: the next one may not be.
  const isTrouble = error.status === 500 || error.status === 502 || error.status === 503;
  return isTrouble && may === "always" && attempt < shortRetries ? shortWait(attempt) : undefined;
}

const shortWait = (attempt: number): number => firstWait * 2 ** attempt * (0.5 + Math.random() / 2);

/** ms. Whole seconds are all that API servers send; a date, RFC 9110 section 10.2.3, is left out. */
export function retryAfterOf(header: string | readonly string[] | undefined): number | undefined {
  return typeof header === "string" && /^\d{1,6}$/.test(header.trim()) ? Number(header) * 1_000 : undefined;
}

export function formatQuery(query: Query | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const each of Array.isArray(value) ? (value as readonly string[]) : [String(value)]) parameters.append(name, each);
  }
  return parameters.size === 0 ? "" : `?${parameters.toString()}`;
}

export function parse<T>(text: string, what: string): T {
  if (text.trim() === "") return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new KubeProtocolError(`${what} gave no JSON: ${text.slice(0, 200)}`, { cause: error });
  }
}
