// WebSocket and other upgrades: the head goes through Node's HTTP client, and after a 101 both sides are joined byte by byte.
// An upgraded connection counts as in flight until one side ends it.
import { request, STATUS_CODES, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { destination } from "./acceptable.ts";
import type { Endpoint, PortTarget } from "./component.ts";
import { clientBehind, plainAddress } from "./clientaddress.ts";
import type { Direct, RouterContext } from "./context.ts";
import { Line } from "./crowd.ts";
import { answerHead, requestHeaders, saneRequestId } from "./headers.ts";
import { detailsOf, mayKnow } from "./details.ts";
import { refusalAnswer, type RefusalKind } from "./pages.ts";
import { joinSockets } from "./pipe.ts";
import { record } from "./record.ts";
import { endpointMayCome, select, type Selection } from "./selection.ts";

interface Call {
  readonly requestId: string;
  readonly host: string;
  readonly path: string;
  readonly start: number;
  readonly remote: string;
}

/** Takes over an upgrade request's socket, to whose errors somebody listens already. `head`: bytes that came right after the request. */
export async function handleUpgrade(
  ctx: RouterContext,
  direct: Direct | undefined,
  secure: boolean,
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const client = socket as Socket;
  // The time that it may be idle between requests counts no more.
  if (!(socket instanceof Line)) client.setTimeout(0);
  const { authority, host, path, refusal } = destination(req);
  const given = req.headers["x-request-id"];
  const peer = plainAddress(client.remoteAddress);
  const proxied = ctx.isTrusted(peer);
  const call: Call = {
    requestId: saneRequestId(given) ? given : ctx.requestId(),
    host,
    path,
    start: ctx.now(),
    remote: proxied ? clientBehind(peer, req.headers["x-forwarded-for"], ctx.isTrusted) : peer,
  };
  if (refusal !== undefined) return refuse(ctx, undefined, undefined, call, req, client, refusal.kind);
  const target = direct?.target ?? ctx.table.find(host, path);
  if (target === undefined) return refuse(ctx, undefined, undefined, call, req, client, "not_found");
  if (target.component.isFull) {
    target.component.noTrack.overLimit += 1;
    return refuse(ctx, target, undefined, call, req, client, "busy");
  }
  const trusted = proxied || direct?.sibling === true;
  const headers = requestHeaders(req, {
    host: authority,
    requestId: call.requestId,
    remote: peer,
    proto: secure ? "https" : "http",
    port: client.localPort ?? 0,
    trusted,
  });
  headers.push("connection", "Upgrade", "upgrade", req.headers.upgrade ?? "");
  const deadline = ctx.now() + target.component.entry.holdFor;
  for (;;) {
    const selection = select(target, req.headers, undefined, ctx.random);
    if (selection !== undefined) {
      const outcome = await connectUpgrade(ctx, target, selection, call, req, client, head, headers);
      if (outcome !== "refused") return;
      target.suspect(selection.endpoint, ctx.now());
      selection.track.stats.retries += 1;
      continue;
    }
    if (!(await endpointMayCome(target, deadline - ctx.now())))
      return refuse(ctx, target, undefined, call, req, client, target.component.entry.stopped ? "stopped" : "not_ready");
    if (client.destroyed) return finish(ctx, target, undefined, call, req, 499, 0, 0, true);
  }
}

/** `refused`: no connection was made, so another endpoint may be tried. */
function connectUpgrade(
  ctx: RouterContext,
  target: PortTarget,
  selection: Selection,
  call: Call,
  req: IncomingMessage,
  client: Socket,
  head: Buffer,
  headers: string[],
): Promise<"done" | "refused"> {
  const { endpoint } = selection;
  return new Promise((resolve) => {
    endpoint.counters.inFlight += 1;
    endpoint.counters.requests += 1;
    let connected = false;
    let open = true;
    const settle = (): void => {
      if (open) endpoint.counters.inFlight -= 1;
      open = false;
    };
    const upstream = request({
      host: endpoint.host,
      port: endpoint.port,
      method: req.method ?? "GET",
      path: call.path,
      headers,
      agent: false,
    });
    const onClientClose = (): void => {
      upstream.destroy();
    };
    client.once("close", onClientClose);
    upstream.on("socket", (socket) =>
      socket.once("connect", () => {
        connected = true;
      }),
    );
    upstream.on("upgrade", (answer, upstreamSocket, upstreamHead) => {
      client.off("close", onClientClose);
      client.write(
        headText(101, answer.statusMessage, [
          ...answerHead(answer.rawHeaders).fields,
          "connection",
          "Upgrade",
          "upgrade",
          answer.headers.upgrade ?? "",
        ]),
      );
      if (upstreamHead.length > 0) client.write(upstreamHead);
      if (head.length > 0) upstreamSocket.write(head);
      ctx.stats.opened("upgraded");
      joinSockets(ctx, client, upstreamSocket as Socket, (bytesIn, bytesOut, whole) => {
        ctx.stats.closed("upgraded");
        settle();
        finish(ctx, target, selection, call, req, 101, bytesIn, bytesOut, whole);
        resolve("done");
      });
    });
    upstream.on("response", (answer) => {
      // The endpoint declined: an ordinary answer, after which the connection ends.
      client.off("close", onClientClose);
      const status = answer.statusCode ?? 502;
      const body = answerHead(answer.rawHeaders).fields;
      client.write(headText(status, answer.statusMessage, [...body, "connection", "close"]));
      let bytes = 0;
      answer.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.pipe(client);
      answer.once("close", () => {
        settle();
        if (!answer.complete) client.destroy();
        finish(ctx, target, selection, call, req, status, 0, bytes, answer.complete);
        resolve("done");
      });
    });
    upstream.on("error", () => {
      client.off("close", onClientClose);
      settle();
      if (client.destroyed) {
        finish(ctx, target, selection, call, req, 499, 0, 0, false);
        resolve("done");
      } else if (connected) {
        endpoint.counters.errors += 1;
        refuse(ctx, target, selection.endpoint, call, req, client, "bad_gateway");
        resolve("done");
      } else resolve("refused");
    });
    upstream.end();
  });
}

function headText(status: number, message: string | undefined, headers: readonly string[]): string {
  let text = `HTTP/1.1 ${String(status)} ${message === undefined || message === "" ? (STATUS_CODES[status] ?? "") : message}\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2) text += `${headers[index] ?? ""}: ${headers[index + 1] ?? ""}\r\n`;
  return `${text}\r\n`;
}

function refuse(
  ctx: RouterContext,
  target: PortTarget | undefined,
  endpoint: Endpoint | undefined,
  call: Call,
  req: IncomingMessage,
  client: Socket,
  kind: RefusalKind,
): void {
  const { status, headers, body } = refusalAnswer(
    kind,
    req.headers.accept,
    call.requestId,
    mayKnow(ctx.errorDetails, { host: call.host, remote: call.remote, headers: req.headers })
      ? detailsOf(call.host, call.path, target, endpoint)
      : undefined,
  );
  if (!client.destroyed) client.end(`${headText(status, undefined, [...headers, "connection", "close"])}${body}`);
  const track = target?.tracks.find((one) => endpoint !== undefined && one.endpoints.includes(endpoint));
  finish(
    ctx,
    target,
    endpoint === undefined || track === undefined ? undefined : { endpoint, track, remember: false },
    call,
    req,
    status,
    0,
    Buffer.byteLength(body),
    true,
    kind,
  );
}

function finish(
  ctx: RouterContext,
  target: PortTarget | undefined,
  selection: Selection | undefined,
  call: Call,
  req: IncomingMessage,
  status: number,
  bytesIn: number,
  bytesOut: number,
  whole: boolean,
  code: RefusalKind | "" = "",
): void {
  record(ctx, {
    target,
    track: selection?.track,
    endpoint: selection?.endpoint,
    requestId: call.requestId,
    remote: call.remote,
    host: call.host,
    method: req.method ?? "",
    path: call.path,
    status,
    start: call.start,
    bytesIn,
    bytesOut,
    retried: 0,
    whole,
    code,
  });
}
