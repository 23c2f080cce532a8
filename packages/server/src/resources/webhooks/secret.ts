// Whether a notification comes from whom it should: with the webhook's secret in a header, in the address, or as the key of a signature.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export interface Received {
  /** As it came: a signature is over these bytes. */
  readonly body: Buffer;
  readonly headers: IncomingHttpHeaders;
  /** From the address. */
  readonly secret: string | undefined;
}

/** A signature that is there has to be right, whatever else is. */
export function comesWith(secret: string, { body, headers, secret: inAddress }: Received): boolean {
  const signature = headers["x-hub-signature-256"];
  if (signature !== undefined) {
    const right = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
    return typeof signature === "string" && same(signature, right);
  }
  return [inAddress, ...inHeader(headers.authorization)].some((given) => given !== undefined && same(given, secret));
}

/** Senders differ in what they make of "the value of the header": with `Bearer` before it, alone, or as the password of a name. */
function inHeader(authorization: string | undefined): string[] {
  if (authorization === undefined) return [];
  const [scheme = "", value = ""] = authorization.trim().split(/\s+/, 2);
  if (value === "") return [scheme];
  if (/^basic$/i.test(scheme))
    return [
      Buffer.from(value, "base64")
        .toString("utf8")
        .replace(/^[^:]*:/, ""),
    ];
  return /^(?:bearer|token)$/i.test(scheme) ? [value] : [];
}

/** In a time that tells nothing of where they differ, nor of their lengths. */
function same(given: string, right: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(right));
}
