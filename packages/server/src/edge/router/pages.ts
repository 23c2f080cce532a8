// The router's own answers when no component answers. They tell a developer what is wrong and what to do, and a stranger the status and a number to quote (promise 8).

export type RefusalKind =
  | "bad_request"
  | "not_found"
  | "bad_gateway"
  | "interrupted"
  | "stopped"
  | "not_ready"
  | "busy"
  | "timeout"
  | "body_too_large"
  | "body_timeout"
  | "method"
  | "expectation"
  | "not_implemented";

interface Refusal {
  readonly status: number;
  readonly title: string;
  /** For everybody. */
  readonly detail: string;
  /** For developers: what is wrong, and the next step. `{s}` and `{c}`: stack and component. */
  readonly cause: string;
  readonly next: string;
}

const unavailable = { title: "Not available", detail: "This page cannot be shown just now. Try again in a moment." };

const refusals: Readonly<Record<RefusalKind, Refusal>> = {
  bad_request: {
    status: 400,
    title: "Bad request",
    detail: "The request could not be understood.",
    cause: "Its target, Host or framing is malformed or ambiguous, so it was not passed on.",
    next: "Send one Host header, and either Content-Length or `Transfer-Encoding: chunked`.",
  },
  not_found: {
    status: 404,
    title: "Nothing here",
    detail: "There is nothing at this address.",
    cause: "No component has this host name and path.",
    next: "`berth status` lists the addresses of a stack; a domain of its own goes under `x-berth: domains:` in compose.yaml.",
  },
  method: {
    status: 405,
    title: "Method not allowed",
    detail: "This method is not supported here.",
    cause: "The router does not pass on this method.",
    next: "Use another method.",
  },
  expectation: {
    status: 417,
    title: "Expectation not met",
    detail: "What the request expects is not supported here.",
    cause: "Only `Expect: 100-continue` is understood.",
    next: "Leave out the Expect header.",
  },
  not_implemented: {
    status: 501,
    title: "Not implemented",
    detail: "The request's transfer coding is not supported.",
    cause: "Only `chunked` is passed on.",
    next: "Send the body chunked, or with its length.",
  },
  body_too_large: {
    status: 413,
    title: "Too large",
    detail: "The request is larger than is taken here.",
    cause: "Its body is larger than the component's `maxBody`.",
    next: "Raise `maxBody` under `x-berth:` in compose.yaml, or send less at once.",
  },
  body_timeout: {
    status: 408,
    title: "Too slow",
    detail: "The request did not arrive in time.",
    cause: "The client stopped in the middle of the body.",
    next: "Look at the client and the network before it.",
  },
  bad_gateway: {
    status: 502,
    ...unavailable,
    cause: "The instance closed the connection or could not be reached before it answered.",
    next: "`berth logs -s {s} -c {c}` shows what it said; does it listen on the port in `PORT`?",
  },
  interrupted: {
    status: 502,
    ...unavailable,
    cause:
      "The instance that had this request ended, or closed the connection, before it answered. It may have acted on it, so it was not sent again.",
    next: "`berth logs -s {s} -c {c}` shows what it said.",
  },
  stopped: {
    status: 503,
    ...unavailable,
    cause: "The component is stopped.",
    next: "`berth components start -s {s} -c {c}` starts it again.",
  },
  not_ready: { status: 503, ...unavailable, cause: "No instance of the component is ready.", next: "`berth status -s {s}` says why." },
  busy: {
    status: 503,
    ...unavailable,
    cause: "The component has as many requests and connections as its `maxConnections` allows.",
    next: "Raise `maxConnections` under `x-berth:` in compose.yaml; `berth scale -s {s} -c {c} <number>` adds instances to carry more.",
  },
  timeout: {
    status: 504,
    title: "No answer in time",
    detail: "This page took too long. Try again in a moment.",
    cause: "The instance took too long to begin its answer.",
    next: "`berth logs -s {s} -c {c}` shows what it was doing.",
  },
};

/** What only developers see. */
export interface Details {
  /** Host and path. */
  readonly asked: string;
  readonly component: { readonly stack: string; readonly component: string } | undefined;
  readonly facts: readonly (readonly [name: string, value: string])[];
}

export interface RefusalAnswer {
  readonly status: number;
  readonly headers: string[];
  readonly body: string;
}

interface Shown {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code: RefusalKind;
  readonly requestId: string;
  readonly developer: { readonly cause: string; readonly next: string; readonly facts: Details["facts"] } | undefined;
}

/** An answer in the form that the caller accepts: HTML for browsers, problem details (RFC 9457) for programs, else text. */
export function refusalAnswer(kind: RefusalKind, accept: string | undefined, requestId: string, details?: Details): RefusalAnswer {
  const { status, title, detail, cause, next } = refusals[kind];
  const { stack = "<stack>", component = "<component>" } = details?.component ?? {};
  const developer =
    details === undefined
      ? undefined
      : {
          cause,
          next: next.replaceAll("{s}", stack).replaceAll("{c}", component),
          facts: [["Asked for", details.asked] as const, ...details.facts],
        };
  const [type, body] = render(accept ?? "", { status, title, detail, code: kind, requestId, developer });
  const headers = ["content-type", type, "content-length", String(Buffer.byteLength(body)), "cache-control", "no-store"];
  if (requestId !== "") headers.push("x-request-id", requestId);
  if (status === 503) headers.push("retry-after", "1");
  return { status, headers, body };
}

/** The same for a caller that reads no pages. */
export function refusalWords(kind: RefusalKind, details?: Details): { readonly status: number; readonly sentence: string } {
  const { status, title, detail, cause, next } = refusals[kind];
  if (details === undefined) return { status, sentence: `${title}: ${detail}` };
  const { stack = "<stack>", component = "<component>" } = details.component ?? {};
  return { status, sentence: `${title}: ${cause} Next: ${next.replaceAll("{s}", stack).replaceAll("{c}", component)}` };
}

function render(accept: string, shown: Shown): [type: string, body: string] {
  if (accept.includes("text/html")) return ["text/html; charset=utf-8", html(shown)];
  if (accept.includes("json")) return ["application/problem+json", json(shown)];
  return ["text/plain; charset=utf-8", text(shown)];
}

function json({ status, title, detail, code, requestId, developer }: Shown): string {
  const more = developer === undefined ? {} : { cause: developer.cause, next: developer.next, facts: Object.fromEntries(developer.facts) };
  return `${JSON.stringify({ type: `about:blank#${code}`, title, status, code, detail, requestId, ...more })}\n`;
}

function text({ status, title, detail, requestId, developer }: Shown): string {
  const first = `${String(status)} ${title}: ${developer?.cause ?? detail}${requestId === "" ? "" : ` (request ${requestId})`}\n`;
  if (developer === undefined) return first;
  return `${first}Next: ${developer.next}\n${developer.facts.map(([name, value]) => `  ${name}: ${value}\n`).join("")}`;
}

const style = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:38em;margin:14vh auto;padding:0 1.2em;color:#1c1c1e;background:#fff}
h1{font-size:1.6em;line-height:1.2;margin:0 0 .5em}.n{font-size:.9em;color:#5c5c62;margin:0 0 .3em}.d{border-left:3px solid #2f6fde;padding:.1em 0 .1em 1em;margin:1.5em 0}
code{background:#ececf0;padding:.1em .3em;border-radius:3px}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em;margin:1em 0 0}dt{color:#5c5c62}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:30em){dl{display:block}dd{margin-bottom:.4em}}
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#17171a}code{background:#2c2c31}.n,dt{color:#a2a2aa}.d{border-color:#6ea0ff}}`;

function html({ status, title, detail, requestId, developer }: Shown): string {
  const more =
    developer === undefined
      ? ""
      : `<section class="d" aria-label="For developers"><p>${marked(developer.cause)}</p><p>${marked(developer.next)}</p><dl>${developer.facts.map(([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`).join("")}</dl></section>`;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex"><title>${String(status)} ${title}</title>
<style>${style}</style></head><body><main><p class="n">${String(status)}</p><h1>${title}</h1><p>${detail}</p>${more}${requestId === "" ? "" : `<p class="n">Request <code>${escaped(requestId)}</code></p>`}</main></body></html>\n`;
}

/** Hosts and paths come from callers. */
function escaped(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${String(character.charCodeAt(0))};`);
}

function marked(sentence: string): string {
  return escaped(sentence).replace(/`([^`]*)`/g, "<code>$1</code>");
}
