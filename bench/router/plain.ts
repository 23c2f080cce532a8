// The plainest proxy that Node can be, as a peer: an http server with an undici pool.
// `node plain.ts PORT TARGET`
import { createServer } from "node:http";
import { Pool } from "undici";

const [, , port = "", target = ""] = process.argv;
const pool = new Pool(`http://127.0.0.1:${target}`, { connections: 256, pipelining: 1 });

createServer((req, res) => {
  pool
    .stream(
      {
        method: req.method === "PUT" ? "PUT" : "GET",
        path: req.url ?? "/",
        headers: { ...req.headers, connection: undefined },
        body: req.method === "PUT" ? req : null,
        opaque: res,
      },
      ({ statusCode, headers }) => {
        delete headers["connection"];
        delete headers["keep-alive"];
        return res.writeHead(statusCode, headers);
      },
    )
    .catch(() => {
      res.destroy();
    });
}).listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => {
  process.exit(0);
});
