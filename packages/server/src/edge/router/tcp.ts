// TCP routes: a connection to a component's port is joined to a ready endpoint. Weights and readiness count as for requests; nothing is read before an endpoint took it.
import { connect, type Socket } from "node:net";
import type { Endpoint, PortTarget } from "./component.ts";
import type { RouterContext } from "./context.ts";
import { joinSockets } from "./pipe.ts";
import { endpointMayCome, select } from "./selection.ts";

export async function handleConnection(ctx: RouterContext, target: PortTarget, client: Socket): Promise<void> {
  client.on("error", () => client.destroy());
  client.pause();
  if (target.component.isFull) {
    target.component.noTrack.overLimit += 1;
    target.component.noTrack.finish(503, 0);
    client.resetAndDestroy();
    return;
  }
  const deadline = ctx.now() + target.component.entry.holdFor;
  while (!client.destroyed) {
    const selection = select(target, {}, undefined, ctx.random);
    if (selection === undefined) {
      if (await endpointMayCome(target, deadline - ctx.now())) continue;
      target.component.noTrack.finish(503, 0);
      client.resetAndDestroy();
      return;
    }
    const { endpoint, track } = selection;
    endpoint.counters.inFlight += 1;
    endpoint.counters.requests += 1;
    const upstream = await connected(endpoint);
    if (upstream === undefined) {
      endpoint.counters.inFlight -= 1;
      track.stats.retries += 1;
      target.suspect(endpoint, ctx.now());
      continue;
    }
    ctx.stats.opened("tcp");
    const start = ctx.now();
    joinSockets(ctx, client, upstream, (bytesIn, bytesOut, whole) => {
      ctx.stats.closed("tcp");
      endpoint.counters.inFlight -= 1;
      track.stats.finish(200, ctx.now() - start);
      track.stats.bytesIn += bytesIn;
      track.stats.bytesOut += bytesOut;
      if (!whole) track.stats.interrupted += 1;
    });
    return;
  }
}

function connected(endpoint: Endpoint): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: endpoint.host, port: endpoint.port, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(() => {
      socket.destroy(new Error("connect timeout"));
    }, 5_000);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", failed);
      resolve(socket);
    });
    const failed = (): void => {
      clearTimeout(timer);
      resolve(undefined);
    };
    socket.once("error", failed);
  });
}
