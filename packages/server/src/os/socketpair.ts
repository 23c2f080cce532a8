// Two ends of one connection within this process, both real sockets. What Node.js does over a stream that is none (HTTP/2 above all) goes through an adapter
// that breaks down when the stream ends in the middle of a write; a copy through the kernel does not.
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";

/** `path`: for the moment until they are connected; it is gone afterwards. */
export async function socketPair(path: string): Promise<[Socket, Socket]> {
  rmSync(path, { force: true });
  const server = createServer();
  server.listen(path);
  await once(server, "listening");
  try {
    const near = connect(path);
    const [[far]] = (await Promise.all([once(server, "connection"), once(near, "connect")])) as [[Socket], unknown];
    return [near, far];
  } finally {
    server.close();
    rmSync(path, { force: true });
  }
}
