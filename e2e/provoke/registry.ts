// A registry of packages on loopback that has one package and, for all others, the answer of a real one: 404.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Registry {
  /** Ends with `/`. */
  readonly url: string;
  close(): Promise<void>;
}

/** The one package is `kept`, version 1.0.0. */
export async function startRegistry(): Promise<Registry> {
  const server = createServer((request, response) => {
    const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const there = request.url === "/kept";
    response.writeHead(there ? 200 : 404, { "content-type": "application/json" });
    response.end(
      JSON.stringify(
        there
          ? {
              name: "kept",
              "dist-tags": { latest: "1.0.0" },
              versions: { "1.0.0": { name: "kept", version: "1.0.0", dist: { tarball: `${url}/kept.tgz`, shasum: "0".repeat(40) } } },
            }
          : { error: "Not found" },
      ),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  };
}
