// A daemon's socket through which the output of containers comes later than all else, as from a daemon that has much else to do.
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** `path`: the daemon's own socket. `at`: where this one is made. Returns what closes it. */
export async function startLate(path: string, at: string, ms: number): Promise<AsyncDisposable> {
  const server = createServer((client) => {
    const daemon = connect(path);
    let delay = 0;
    client.on("data", (chunk) => {
      // One call after the other: its first words say what it asks for.
      if (/^[A-Z]+ \//.test(chunk.toString("latin1", 0, 16))) delay = chunk.includes("/logs?") ? ms : 0;
      daemon.write(chunk);
    });
    daemon.on("data", (chunk) => void setTimeout(() => client.write(chunk), delay));
    daemon.on("close", () => void setTimeout(() => client.destroy(), delay));
    client.on("close", () => daemon.destroy());
    for (const socket of [client, daemon]) socket.on("error", () => socket.destroy());
  }).listen(at);
  await once(server, "listening");
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}
