// What the router changes in headers: hop-by-hop fields go (RFC 9110, 7.6.1), forwarding fields are set, x-berth-* never passes from outside (promise 8).
import type { IncomingMessage } from "node:http";

/** What a request header needs. Anything not in the table is copied as it is. */
const rule = { copy: 0, drop: 1, host: 2, forwarded: 3, forwardedFor: 4, requestId: 5, te: 6 } as const;
type Kind = (typeof rule)[keyof typeof rule];

const special = new Map<string, Kind>([
  ...["connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "transfer-encoding", "upgrade", "expect", "http2-settings"].map((name) => [name, rule.drop] as const),
  ...["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"].map((name) => [name, rule.forwarded] as const),
  ["host", rule.host], ["te", rule.te], ["x-forwarded-for", rule.forwardedFor], ["x-request-id", rule.requestId],
]);

/** Names as clients spell them -> kind; bounded, because clients choose names. */
const kinds = new Map<string, Kind>();
const kindsLimit = 2048;

function kindOf(name: string): Kind {
  const known = kinds.get(name);
  if (known !== undefined) return known;
  const lower = name.toLowerCase();
  const kind = lower.startsWith("x-berth-") ? rule.drop : special.get(lower) ?? rule.copy;
  if (kinds.size < kindsLimit) kinds.set(name, kind);
  return kind;
}

export interface Forwarding {
  /** Host header for the endpoint: what the client asked for. */
  readonly host: string;
  readonly requestId: string;
  readonly remote: string;
  /** Port that the client connected to. */
  readonly port: number;
  /** The client is a proxy whose X-Forwarded-* are believed; otherwise they are replaced. */
  readonly trusted: boolean;
}

/** Headers for the endpoint as a flat list. Framing (`content-length` is copied, `transfer-encoding` not) is left to the client that sends them. */
export function requestHeaders(req: IncomingMessage, forwarding: Forwarding): string[] {
  const raw = req.rawHeaders;
  const { trusted } = forwarding;
  const connection = req.headers.connection;
  const nominated = connection === undefined ? undefined : nominatedBy(connection);
  const out: string[] = ["host", forwarding.host];
  let forwardedFor = forwarding.remote;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? "";
    const value = raw[index + 1] ?? "";
    switch (kindOf(name)) {
      case rule.copy:
        if (nominated === undefined || !nominated.has(name.toLowerCase())) out.push(name, value);
        break;
      case rule.forwarded:
        if (trusted) out.push(name, value);
        break;
      case rule.forwardedFor:
        if (trusted) forwardedFor = `${value}, ${forwardedFor}`;
        break;
      case rule.te:
        // Trailers do pass this proxy; nothing else of TE does.
        if (/\btrailers\b/i.test(value)) out.push("te", "trailers");
        break;
      case rule.drop: case rule.host: case rule.requestId: break;
    }
  }
  out.push("x-forwarded-for", forwardedFor, "x-request-id", forwarding.requestId);
  if (!trusted || req.headers["x-forwarded-proto"] === undefined) out.push("x-forwarded-proto", "http");
  if (!trusted || req.headers["x-forwarded-host"] === undefined) out.push("x-forwarded-host", forwarding.host);
  if (!trusted || req.headers["x-forwarded-port"] === undefined) out.push("x-forwarded-port", String(forwarding.port));
  return out;
}

/** Header names that a Connection header declares as hop-by-hop; undefined for the usual ones, which name none. */
function nominatedBy(connection: string): Set<string> | undefined {
  if (connection === "keep-alive" || connection === "close" || connection === "Keep-Alive") return undefined;
  const names = connection.toLowerCase().split(",").map((name) => name.trim());
  return new Set(names);
}

/** The endpoint's answer headers as a flat list for the client. `headers` has lower-case names (undici). */
export function responseHeaders(headers: Readonly<Record<string, string | string[] | undefined>>): string[] {
  const out: string[] = [];
  const connection = headers["connection"];
  const nominated = connection === undefined ? undefined : nominatedBy(String(connection));
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined) continue;
    switch (name) {
      case "connection": case "keep-alive": case "proxy-connection": case "proxy-authenticate": case "transfer-encoding": case "upgrade": continue;
      default:
    }
    // An application must not be able to claim a release (promise 1).
    if (name.startsWith("x-berth-") || nominated?.has(name) === true) continue;
    if (typeof value === "string") out.push(name, value);
    else for (const one of value) out.push(name, one);
  }
  return out;
}

/** A caller's request id is kept when it is short and plain, since it ends up in logs and headers. */
export function saneRequestId(value: string | string[] | undefined): value is string {
  return typeof value === "string" && value.length >= 8 && value.length <= 128 && /^[A-Za-z0-9._:/=+@-]+$/.test(value);
}
