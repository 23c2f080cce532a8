// As small as a web component can be: it listens where PORT says, and ends when it is told to.
import { createServer } from "node:http";

const server = createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/plain" }).end(`Hello from Node.js, release ${process.env.BERTH_RELEASE ?? 0}\n`);
});
server.listen(Number(process.env.PORT ?? 8000), () => console.log("ready"));

process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
