// Stands between Berth and its daemon and counts what is asked: a poll per container would show here, whatever it costs.
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Counter extends AsyncDisposable {
  readonly url: string;
  /** Where calls go from now on: a daemon's `unix://` address. */
  passTo(url: string): void;
  calls(): number;
}

export async function startCounter(): Promise<Counter> {
  const folder = await mkdtemp(join(tmpdir(), "berth-count-"));
  const path = join(folder, "docker.sock");
  const open = new Set<Socket>();
  let target = "";
  let calls = 0;
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const daemon = connect({ path: target, allowHalfOpen: true });
    for (const socket of [client, daemon]) {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
      // What one side broke off, the other is told by its end.
      socket.on("error", () => {
        client.destroy();
        daemon.destroy();
      });
    }
    // A request begins a packet: the client waits for the answer before it says more.
    client.on("data", (chunk: Buffer) => {
      if (/^(?:GET|POST|PUT|DELETE|HEAD) \//.test(chunk.subarray(0, 16).toString("latin1"))) calls += 1;
    });
    client.pipe(daemon);
    daemon.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    url: `unix://${path}`,
    passTo: (url) => {
      target = url.replace(/^unix:\/\//, "");
    },
    calls: () => calls,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
