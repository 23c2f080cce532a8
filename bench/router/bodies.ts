// An endpoint that sends as many bytes as it is asked for, and counts those it gets. `node bodies.ts PORT`
import { once } from "node:events";
import { createServer } from "node:http";

const piece = Buffer.alloc(64 * 1024, "x");

createServer((req, res) => {
  if (req.method === "PUT") {
    let got = 0;
    req
      .on("data", (chunk: Buffer) => {
        got += chunk.length;
      })
      .on("end", () => {
        res.end(`${String(got)} bytes`);
      });
    return;
  }
  const [, form, size] = (req.url ?? "").split("/");
  const bytes = Number(size);
  res.writeHead(200, form === "plain" ? { "content-length": String(bytes) } : {});
  void (async () => {
    for (let sent = 0; sent < bytes && !res.destroyed; sent += piece.length) if (!res.write(piece)) await once(res, "drain");
    res.end();
  })();
}).listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => {
  process.exit(0);
});
