// Joins two sockets byte by byte, with back-pressure and half-close in both directions, until both are closed.
import type { Socket } from "node:net";
import type { RouterContext } from "./context.ts";

/** `done(bytesIn, bytesOut, whole)` is called once, when both ends are closed; `whole` = neither was cut off by an error. */
export function joinSockets(
  ctx: RouterContext,
  client: Socket,
  upstream: Socket,
  done: (bytesIn: number, bytesOut: number, whole: boolean) => void,
): void {
  let open = 2;
  let whole = true;
  const inBefore = client.bytesRead;
  const outBefore = client.bytesWritten;
  ctx.pipes.add(client);
  const closed = (): void => {
    open -= 1;
    if (open > 0) return;
    ctx.pipes.delete(client);
    done(client.bytesRead - inBefore, client.bytesWritten - outBefore, whole);
  };
  wire(client, upstream);
  wire(upstream, client);

  function wire(from: Socket, to: Socket): void {
    if (from.closed) {
      to.end();
      closed();
      return;
    }
    from.setNoDelay(true);
    from.setKeepAlive(true, 30_000);
    from.on("error", () => {
      whole = false;
    });
    from.once("close", () => {
      // What arrived before is still written; an error is passed on as an error.
      if (from.errored !== null) to.destroy();
      else to.end();
      closed();
    });
    // `pipe` ends the other side when this one ended, and pauses when it is slow.
    from.pipe(to);
  }
}
