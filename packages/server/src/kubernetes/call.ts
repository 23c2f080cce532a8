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

/** ms until the next attempt at what may be repeated; undefined: there is none. */
export function waitAfter(error: unknown, attempt: number): number | undefined {
  if (error instanceof KubeUnreachable) return error.code === "cut" && attempt === 0 ? 0 : undefined;
  if (!(error instanceof KubeError) || attempt >= mostRetries) return undefined;
  if ((error.status !== 429 && error.status !== 503) || error.retryAfter === undefined) return undefined;
  // Those that were sent away together do not come back together.
  return error.retryAfter * (1 + Math.random() / 4);
}

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
