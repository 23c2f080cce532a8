// The router's own answers when no component answers. They are friendly to developers and name nothing that the caller did not (promise 8).

export type RefusalKind = "bad_request" | "not_found" | "bad_gateway" | "stopped" | "not_ready" | "timeout" | "too_large" | "method";

interface Refusal { readonly status: number; readonly title: string; readonly detail: string }

const refusals: Readonly<Record<RefusalKind, Refusal>> = {
  bad_request: { status: 400, title: "Bad request", detail: "The request could not be understood." },
  not_found: { status: 404, title: "Nothing here", detail: "No component answers at this address. Check the host name and path; `berth status` lists the addresses of a stack." },
  method: { status: 405, title: "Method not allowed", detail: "This method is not supported here." },
  too_large: { status: 431, title: "Headers too large", detail: "The request's headers are larger than 32 KiB." },
  bad_gateway: { status: 502, title: "The component broke off", detail: "The component closed the connection or could not be reached before it answered. `berth logs` shows what it said." },
  stopped: { status: 503, title: "Stopped", detail: "This component is stopped. `berth components start` starts it again." },
  not_ready: { status: 503, title: "Not ready", detail: "No instance of this component is ready. `berth status` says why." },
  timeout: { status: 504, title: "No answer in time", detail: "The component took too long to begin its answer. `berth logs` shows what it was doing." },
};

export interface RefusalAnswer { readonly status: number; readonly headers: string[]; readonly body: string }

/** An answer in the form that the caller accepts: HTML for browsers, problem details (RFC 9457) for programs, else one line of text. */
export function refusalAnswer(kind: RefusalKind, accept: string | undefined, requestId: string): RefusalAnswer {
  const { status, title, detail } = refusals[kind];
  const [type, body] = render(accept ?? "", { status, title, detail, code: kind, requestId });
  const headers = ["content-type", type, "content-length", String(Buffer.byteLength(body)), "cache-control", "no-store", "x-request-id", requestId];
  if (status === 503) headers.push("retry-after", "1");
  return { status, headers, body };
}

function render(accept: string, refusal: Refusal & { readonly code: string; readonly requestId: string }): [type: string, body: string] {
  const { status, title, detail, code, requestId } = refusal;
  if (accept.includes("text/html")) {
    return ["text/html; charset=utf-8", `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${String(status)} ${title}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;color:#222;background:#fff}code{background:#eee;padding:0 .3em}small{color:#666}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}code{background:#333}small{color:#999}}</style>
<h1>${title}</h1><p>${detail.replace(/`([^`]*)`/g, "<code>$1</code>")}</p><p><small>${String(status)} · request ${requestId}</small></p></html>\n`];
  }
  if (accept.includes("json")) return ["application/problem+json", `${JSON.stringify({ type: `about:blank#${code}`, title, status, code, detail, requestId })}\n`];
  return ["text/plain; charset=utf-8", `${String(status)} ${title}: ${detail} (request ${requestId})\n`];
}
