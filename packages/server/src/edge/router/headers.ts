// What the router changes in headers: hop-by-hop fields go (RFC 9110, 7.6.1), forwarding fields are set, x-berth-* never passes from outside (promise 8).
import type { ClientRequest } from "./client.ts";

/** What a request header needs. Anything not in the table is copied as it is. */
const rule = { copy: 0, drop: 1, host: 2, forwarded: 3, forwardedFor: 4, requestId: 5, te: 6, length: 7 } as const;
type Kind = (typeof rule)[keyof typeof rule];

const special = new Map<string, Kind>([
  ...[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "transfer-encoding",
    "upgrade",
    "expect",
    "http2-settings",
  ].map((name) => [name, rule.drop] as const),
  ...["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"].map((name) => [name, rule.forwarded] as const),
  ["host", rule.host],
  ["te", rule.te],
  ["content-length", rule.length],
  ["x-forwarded-for", rule.forwardedFor],
  ["x-request-id", rule.requestId],
]);

/** Names as clients spell them -> kind; bounded, because clients choose names. */
const kinds = new Map<string, Kind>();
const kindsLimit = 2048;

function kindOf(name: string): Kind {
  const known = kinds.get(name);
  if (known !== undefined) return known;
  const lower = name.toLowerCase();
  const kind = lower.startsWith("x-berth-") ? rule.drop : (special.get(lower) ?? rule.copy);
  if (kinds.size < kindsLimit) kinds.set(name, kind);
  return kind;
}

/** What an answer's header needs. */
const answerRule = { copy: 0, drop: 1, connection: 2, length: 3, coding: 4, keepAlive: 5, requestId: 6 } as const;
type AnswerKind = (typeof answerRule)[keyof typeof answerRule];

const specialAnswers = new Map<string, AnswerKind>([
  ...["proxy-connection", "proxy-authenticate", "upgrade"].map((name) => [name, answerRule.drop] as const),
  ["connection", answerRule.connection],
  ["content-length", answerRule.length],
  ["transfer-encoding", answerRule.coding],
  ["keep-alive", answerRule.keepAlive],
  ["x-request-id", answerRule.requestId],
]);
const answerKinds = new Map<string, AnswerKind>();

function answerKindOf(name: string): AnswerKind {
  const known = answerKinds.get(name);
  if (known !== undefined) return known;
  const lower = name.toLowerCase();
  // An application must not be able to claim a release (promise 1).
  const kind = lower.startsWith("x-berth-") ? answerRule.drop : (specialAnswers.get(lower) ?? answerRule.copy);
  // A copy: the name may be a part of a whole head's text, which would stay in memory with it.
  if (answerKinds.size < kindsLimit) answerKinds.set(Buffer.from(name, "latin1").toString("latin1"), kind);
  return kind;
}

export interface Forwarding {
  /** Host header for the endpoint: what the client asked for. */
  readonly host: string;
  readonly requestId: string;
  readonly remote: string;
  readonly proto: "http" | "https";
  /** Port that the client connected to. */
  readonly port: number;
  /** The client is a proxy whose X-Forwarded-* are believed; otherwise they are replaced. */
  readonly trusted: boolean;
}

/** Headers for the endpoint as a flat list, with `content-length` as it was, and without `transfer-encoding`. */
export function requestHeaders(req: ClientRequest, forwarding: Forwarding): string[] {
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
      // Never dropped because the client calls it hop-by-hop: the body follows all the same, and would be read as another request.
      case rule.length:
        out.push("content-length", value);
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
      case rule.drop:
      case rule.host:
      case rule.requestId:
        break;
    }
  }
  out.push("x-forwarded-for", forwardedFor);
  if (forwarding.requestId !== "") out.push("x-request-id", forwarding.requestId);
  if (!trusted || req.headers["x-forwarded-proto"] === undefined) out.push("x-forwarded-proto", forwarding.proto);
  if (!trusted || req.headers["x-forwarded-host"] === undefined) out.push("x-forwarded-host", forwarding.host);
  if (!trusted || req.headers["x-forwarded-port"] === undefined) out.push("x-forwarded-port", String(forwarding.port));
  return out;
}

/** Header names that a Connection header declares as hop-by-hop; undefined for the usual ones, which name none. */
function nominatedBy(connection: string): Set<string> | undefined {
  if (connection === "keep-alive" || connection === "close" || connection === "Keep-Alive") return undefined;
  const names = connection
    .toLowerCase()
    .split(",")
    .map((name) => name.trim());
  return new Set(names);
}

/** The start of a request as it goes to the endpoint, up to and with the empty line. `headers`: see `requestHeaders`. */
export function requestHead(method: string, path: string, headers: readonly string[], chunked: boolean): string {
  let head = `${method} ${path} HTTP/1.1\r\n`;
  for (let index = 0; index < headers.length; index += 2) head += `${headers[index] ?? ""}: ${headers[index + 1] ?? ""}\r\n`;
  return chunked ? `${head}transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n` : `${head}connection: keep-alive\r\n\r\n`;
}

/** What a router needs of an answer's head. */
export interface AnswerHead {
  /** Headers for the client, flat. */
  readonly fields: string[];
  /** The endpoint's `Keep-Alive`, which is for the router. */
  readonly keepAlive: string;
  /** It says that a body follows, whether one may or not. */
  readonly announcesBody: boolean;
  readonly hasRequestId: boolean;
}

/**
 * Reads an answer's headers (or trailers; `raw` is flat) once. `content-length` becomes the last field, and none beside a transfer coding (RFC 9112, 6.3):
 * Node would read the bytes of a `content-disposition` behind it as UTF-8 and write them as latin1.
 */
export function answerHead(raw: readonly string[]): AnswerHead {
  const fields: string[] = [];
  let nominated: Set<string> | undefined;
  let length: string | undefined;
  let coded = false;
  let keepAlive = "";
  let hasRequestId = false;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? "";
    const value = raw[index + 1] ?? "";
    switch (answerKindOf(name)) {
      case answerRule.copy:
        fields.push(name, value);
        break;
      case answerRule.length:
        length = value;
        break;
      case answerRule.coding:
        coded = true;
        break;
      case answerRule.keepAlive:
        keepAlive = value;
        break;
      case answerRule.requestId:
        hasRequestId = true;
        fields.push(name, value);
        break;
      case answerRule.connection:
        for (const one of nominatedBy(value) ?? []) (nominated ??= new Set()).add(one);
        break;
      case answerRule.drop:
        break;
    }
  }
  if (nominated !== undefined) dropNamed(fields, nominated);
  if (length !== undefined && !coded) fields.push("content-length", length);
  return { fields, keepAlive, announcesBody: coded || (length !== undefined && length !== "0"), hasRequestId };
}

function dropNamed(headers: string[], names: ReadonlySet<string>): void {
  for (let index = headers.length - 2; index >= 0; index -= 2)
    if (names.has((headers[index] ?? "").toLowerCase())) headers.splice(index, 2);
}

/** The value of the first header with this name (lower case) in a flat list. */
export function headerIn(raw: readonly string[], name: string): string | undefined {
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const one = raw[index] ?? "";
    if (one.length === name.length && one.toLowerCase() === name) return raw[index + 1];
  }
  return undefined;
}

/** A caller's request id is kept when it is short and plain, since it ends up in logs and headers. */
export function saneRequestId(value: string | string[] | undefined): value is string {
  return typeof value === "string" && value.length >= 8 && value.length <= 128 && /^[A-Za-z0-9._:/=+@-]+$/.test(value);
}
