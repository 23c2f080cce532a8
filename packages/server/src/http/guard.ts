// Who is calling, and from where: token, Host and Origin. A page elsewhere cannot talk to 127.0.0.1:7420.
import type { IncomingHttpHeaders } from "node:http";
import { BerthError } from "../core/errors.ts";

/** The bearer token of the request, if any. Errors: `unauthenticated` for another scheme. */
export function bearerToken(headers: IncomingHttpHeaders): string | undefined {
  const header = headers.authorization;
  if (header === undefined) return undefined;
  const match = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(header);
  if (match?.[1] === undefined) throw new BerthError("unauthenticated");
  return match[1];
}

/** Errors: `host_not_allowed` when Host (DNS rebinding) or Origin (another site's page) is not one of the server's names. */
export function checkHost(headers: IncomingHttpHeaders, allowed: ReadonlySet<string>): void {
  const host = hostName(headers.host ?? "");
  if (!allowed.has(host)) throw new BerthError("host_not_allowed", { host: printable(host) });
  const { origin } = headers;
  if (origin === undefined) return;
  const from = URL.canParse(origin) ? hostName(new URL(origin).host) : "";
  if (!allowed.has(from)) throw new BerthError("host_not_allowed", { host: printable(origin) });
}

function hostName(host: string): string {
  return host
    .toLowerCase()
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1");
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200);
}

/** The caller's own request id when it is sane, so that two logs can be laid side by side. */
export function acceptedRequestId(headers: IncomingHttpHeaders): string | undefined {
  const given = headers["x-request-id"];
  return typeof given === "string" && /^[A-Za-z0-9._-]{8,128}$/.test(given) ? given : undefined;
}

/** Errors: `invalid_request` for an address whose percent-encoding is not that of UTF-8. */
export function checkAddress(url: string): void {
  if (!url.includes("%")) return;
  try {
    decodeURIComponent(url);
  } catch (cause) {
    throw new BerthError("invalid_request", { reason: "the address is not UTF-8, percent-encoded" }, { cause });
  }
}
