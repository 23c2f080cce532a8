// A request's bytes, apart from its connection.
import type { Readable } from "node:stream";
import { PassThrough } from "node:stream";

/**
 * The same bytes in a stream that can be destroyed while the connection lives on: whoever is refused in the middle of what he sends has to hear why. What is sent
 * after that goes nowhere. A sender that breaks off ends it with an error, which whoever has not begun to read meets when he does.
 */
export function detached(request: Readable & { readonly complete?: boolean }): Readable {
  const body = new PassThrough({ highWaterMark: 1024 * 1024 });
  const broke = (error?: Error): void => {
    if (request.complete !== true && !body.destroyed && !body.writableEnded) body.destroy(error ?? new Error("the sender broke off"));
  };
  // Without it the error of a body that nobody reads yet would end the process.
  body.on("error", () => undefined);
  request.once("error", broke).once("close", () => broke());
  request.pipe(body);
  body.once("close", () => {
    request.unpipe(body);
    request.resume();
  });
  return body;
}
