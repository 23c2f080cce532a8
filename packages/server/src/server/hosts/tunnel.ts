// The near end of a tunnel to an edge that is a container on a Docker host: one process in it, started through the daemon, carries every connection. The host
// needs no port open for that, and who may do it is decided by the daemon.
import { connect as openSession, type ClientHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { Readable, type Duplex } from "node:stream";
import type { DockerApi } from "../../docker/api.ts";
import { readFrames } from "../../docker/frames.ts";
import { socketPair } from "../../os/socketpair.ts";
import { formatTarget, tunnelSettings, type TunnelTarget } from "../../edge/container/target.ts";

export class TunnelClosed extends Error {}

/** ms: how often a silent tunnel is asked whether it is there, and how long it may take to answer. */
const pingPeriod = 10_000;
const pingPatience = 15_000;

export interface Tunnel {
  /** A connection to it. Errors: TunnelClosed, or an Error that says why the target cannot be reached. */
  open(target: TunnelTarget, signal: AbortSignal): Promise<Duplex>;
  /** Resolves with the reason when it ends. */
  readonly ended: Promise<Error>;
  close(): void;
}

/** `command`: what starts the far end in the container; `pairPath`: a path for a socket of a moment. Errors: DockerError, DockerUnreachable. */
export async function openTunnel(
  api: DockerApi,
  container: string,
  command: readonly string[],
  pairPath: string,
  signal: AbortSignal,
): Promise<Tunnel> {
  const created = await api.json<{ Id: string }>("POST", `/containers/${container}/exec`, {
    body: { AttachStdin: true, AttachStdout: true, AttachStderr: true, Tty: false, Cmd: command },
    signal,
  });
  const [near, far] = await socketPair(pairPath);
  const life = new AbortController();
  try {
    const connection = await api.hijack(`/exec/${created.Id}/start`, { Detach: false, Tty: false }, life.signal);
    return overConnection(connection, near, far, life);
  } catch (error) {
    near.destroy();
    far.destroy();
    throw error;
  }
}

function overConnection(connection: Duplex, near: Socket, far: Socket, life: AbortController): Tunnel {
  const ended = Promise.withResolvers<Error>();
  let said = "";
  const received = Readable.from(
    output(connection, (text) => (said = (said + text).slice(-2_000))),
    { objectMode: false },
  );
  received.pipe(far).pipe(connection);
  const session: ClientHttp2Session = openSession("http://edge", { createConnection: () => near, settings: tunnelSettings });
  session.setMaxListeners(0);
  let isOver = false;
  const end = (error: Error): void => {
    if (isOver) return;
    isOver = true;
    clearInterval(asking);
    session.destroy();
    far.destroy();
    life.abort(error);
    ended.resolve(said.trim() === "" ? error : new TunnelClosed(`${error.message}: ${said.trim()}`));
  };
  const asking = setInterval(() => {
    // It may have ended, and not said so yet.
    if (session.destroyed) return;
    const late = setTimeout(() => end(new TunnelClosed("the tunnel does not answer any more")), pingPatience);
    session.ping((error) => {
      clearTimeout(late);
      if (error !== null) end(new TunnelClosed(error.message));
    });
  }, pingPeriod);
  asking.unref();
  session
    .on("error", (error: Error) => end(error))
    .once("connect", () => session.setLocalWindowSize(tunnelSettings.initialWindowSize * 4))
    .once("close", () => end(new TunnelClosed("the tunnel was closed")))
    .once("goaway", () => end(new TunnelClosed("the tunnel was closed by the other end")));
  received.once("end", () => end(new TunnelClosed("the other end of the tunnel has ended")));
  for (const stream of [received, far]) stream.on("error", (error: Error) => end(error));
  connection.on("error", (error: Error) => end(error)).once("close", () => end(new TunnelClosed("the daemon closed the tunnel")));
  return {
    ended: ended.promise,
    close: () => end(new TunnelClosed("the tunnel was closed")),
    open: (target, signal) => {
      if (isOver || session.closed) return Promise.reject(new TunnelClosed("the tunnel is closed"));
      const name = formatTarget(target);
      const stream = session.request({ ":method": "CONNECT", ":authority": name }, { endStream: false });
      // For its making alone: a stream that was given the signal would end with it at any time.
      const giveUp = (): void => {
        stream.destroy(signal.reason as Error);
      };
      signal.addEventListener("abort", giveUp, { once: true });
      if (signal.aborted) giveUp();
      const made = new Promise<Duplex>((resolve, reject) => {
        stream
          .once("response", (headers) => {
            if (headers[":status"] === 200) resolve(stream);
            else {
              stream.destroy();
              reject(new Error(String(headers["reason"] ?? `${name} cannot be reached (${String(headers[":status"])})`)));
            }
          })
          .once("error", reject)
          .once("close", () => reject(new TunnelClosed(`the connection to ${name} was closed`)));
      });
      return made.finally(() => signal.removeEventListener("abort", giveUp));
    },
  };
}

/** What the far end sends; what it complains of is remembered. */
async function* output(connection: Duplex, complain: (text: string) => void): AsyncGenerator<Buffer> {
  for await (const frame of readFrames(connection as AsyncIterable<Buffer>)) {
    if (frame.stream === "stdout") yield frame.data;
    else complain(frame.data.toString());
  }
}
