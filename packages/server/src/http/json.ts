// Reads a JSON body. Text that is not UTF-8 is refused, never repaired: what is stored is what was sent.
import { BerthError } from "../core/errors.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** undefined for no body. Errors: `invalid_request`. */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  let text: string;
  try {
    text = utf8.decode(body);
  } catch (cause) {
    throw new BerthError("invalid_request", { reason: "the body is not UTF-8" }, { cause });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new BerthError("invalid_request", { reason: "the body is not JSON" }, { cause });
  }
}
