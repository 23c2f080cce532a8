// Which requests are passed on at all. Node's parser refuses what is malformed; this refuses what is well-formed and yet read differently by different programs,
// because an endpoint that reads it differently from the router can be made to serve a request that nobody routed (RFC 9112, 11.2).
import type { Socket } from "node:net";
import { absoluteTarget, hostName } from "../hosts.ts";
import type { ClientAnswer, ClientRequest } from "./client.ts";
import type { RefusalKind } from "./pages.ts";

/** `ends`: what follows on the connection cannot be told apart from this request's body, so nothing more is read from it. */
export interface Unacceptable {
  readonly kind: RefusalKind;
  readonly ends: boolean;
}

const ambiguous: Unacceptable = { kind: "bad_request", ends: true };
const badTarget: Unacceptable = { kind: "bad_request", ends: false };
const badHost: Unacceptable = { kind: "bad_request", ends: false };
const noMethod: Unacceptable = { kind: "method", ends: false };
const unknownExpectation: Unacceptable = { kind: "expectation", ends: false };
const unknownCoding: Unacceptable = { kind: "not_implemented", ends: true };

/** A name or IPv4 address, or an IPv6 address in brackets, and a port (RFC 9110, 7.2; names as DNS has them, with the underscore that some use). */
const hostForm = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/** `host` and `path` choose the route, and `path` is what an endpoint gets. With a `refusal` they are only good for the log. */
export interface Destination {
  readonly authority: string;
  readonly host: string;
  readonly path: string;
  readonly refusal: Unacceptable | undefined;
}

/** Where a request wants to go, plain or with an upgrade. A target in absolute form wins over the Host field (RFC 9112, 3.2.2). */
export function destination(req: ClientRequest): Destination {
  let path = req.url ?? "/";
  let authority = req.headers.host ?? "";
  let malformed = false;
  if (path.charCodeAt(0) !== 47) {
    const absolute = absoluteTarget(path);
    if (absolute !== undefined) ({ path, authority } = absolute);
    else malformed = path !== "*";
  }
  return {
    authority,
    host: hostName(authority),
    path: malformed ? path : withoutDotSegments(path),
    refusal: malformed ? badTarget : unacceptable(req, authority),
  };
}

/** Why this request goes no further; undefined for nearly all. `authority` is the one that routes it. */
function unacceptable(req: ClientRequest, authority: string): Unacceptable | undefined {
  const coding = req.headers["transfer-encoding"];
  if (req.httpVersionMajor !== 1) return ambiguous;
  if (coding !== undefined && (req.httpVersionMinor !== 1 || coding.toLowerCase() !== "chunked"))
    return req.httpVersionMinor === 1 && /^[a-z]+ *, *chunked$/i.test(coding) ? unknownCoding : ambiguous;
  if (authority !== "" && !hostForm.test(authority)) return badHost;
  if (req.headers.host === undefined && req.httpVersionMinor === 1) return ambiguous;
  if (repeatsHost(req.rawHeaders)) return badHost;
  const { expect } = req.headers;
  if (expect !== undefined && req.httpVersionMinor === 1 && expect.toLowerCase() !== "100-continue") return unknownExpectation;
  // It would show a script what a browser hides from it: cookies, and what proxies add (RFC 9110, 9.3.8).
  if (req.method === "TRACE")
    return req.headers["content-length"] === undefined && coding === undefined ? noMethod : { ...noMethod, ends: true };
  return undefined;
}

/** Connections on which nothing is a request any more: what a parser still finds there may have been a body. */
const unreadable = new WeakSet<Socket>();

/** Makes this response the last on its connection; requests that the parser has found behind it are not served. */
export function readNoMore(req: ClientRequest, res: ClientAnswer): void {
  res.shouldKeepAlive = false;
  unreadable.add(req.socket);
}

/** Nothing on it is a request. */
export function makeUnreadable(socket: Socket): void {
  unreadable.add(socket);
}

export function isUnreadable(socket: Socket): boolean {
  return unreadable.has(socket);
}

/** Two Host fields are an attack on whoever reads the other one (RFC 9112, 3.2). */
function repeatsHost(raw: readonly string[]): boolean {
  let hosts = 0;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
  }
  return hosts > 1;
}

/**
 * A path without dot segments (RFC 3986, 5.2.4), plain or percent-encoded, so that the route it matches and what an endpoint makes of it are the same:
 * `/public/../private` is a request for `/private`. The query stays as it is, and so does everything else.
 */
function withoutDotSegments(target: string): string {
  if (!target.includes("/.") && !(target.includes("%") && /%2e/i.test(target))) return target;
  const at = target.indexOf("?");
  const path = at < 0 ? target : target.slice(0, at);
  const segments = path.slice(1).split("/");
  const kept: string[] = [];
  segments.forEach((segment, index) => {
    const plain = segment.replace(/%2e/gi, ".");
    const last = index === segments.length - 1;
    if (plain === "..") kept.pop();
    if (plain !== "." && plain !== "..") kept.push(segment);
    else if (last) kept.push("");
  });
  return `/${kept.join("/")}${at < 0 ? "" : target.slice(at)}`;
}
