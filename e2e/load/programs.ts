// The programs that are put under load: one that behaves, and three that do not. Without dependencies, so that a build takes no time.
import type { Files } from "../harness.ts";

/**
 * Answers as generator.ts expects: `<id> <bytes of the request's body>`, then version and instance. Prints each POST once, so that a repeated one would be seen.
 * Its event streams are what streams.ts reads: numbered events that name the instance.
 */
const handler = (version: string): string => `
const http = require("http");
const version = ${JSON.stringify(version)};
const open = new Set();
const answer = (request, response) => {
  const url = new URL(request.url, "http://x");
  const id = url.searchParams.get("id");
  let bytes = 0;
  const text = () => id + " " + bytes + "\\n" + version + "\\n" + process.env.BERTH_INSTANCE;
  request.on("data", (chunk) => { bytes += chunk.length; });
  request.on("end", () => {
    if (request.method === "POST") console.log("POST " + id);
    if (url.pathname === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      let number = 0;
      const tell = () => response.write("data: " + process.env.BERTH_INSTANCE + " " + number++ + "\\n\\n");
      tell();
      const timer = setInterval(tell, 100);
      const bye = () => { clearInterval(timer); response.end("data: bye\\n\\n"); };
      open.add(bye);
      response.on("close", () => { clearInterval(timer); open.delete(bye); });
    } else if (url.pathname === "/stream") {
      const body = text();
      const pieces = Number(url.searchParams.get("pieces"));
      response.writeHead(200);
      let sent = 0;
      const timer = setInterval(() => {
        const at = (n) => Math.floor(body.length * n / pieces);
        response.write(body.slice(at(sent), at(sent + 1)));
        sent += 1;
        if (sent === pieces) { clearInterval(timer); response.end(); }
      }, Number(url.searchParams.get("every")));
    } else if (url.pathname === "/slow") setTimeout(() => response.end(text()), Number(url.searchParams.get("ms")));
    else response.end(text());
  });
};
`;

const manifest = { "package.json": JSON.stringify({ name: "app", scripts: { start: "node server.js" } }) };
const app = (version: string, code: string): Files => ({ ...manifest, "server.js": `${handler(version)}${code}` });

/** Ends in good order; event streams get a last event. */
export const behaving = (version: string): Files =>
  app(
    version,
    `
const server = http.createServer(answer).listen(process.env.PORT);
server.keepAliveTimeout = 5000;
process.on("SIGTERM", () => {
  for (const bye of open) bye();
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
`,
  );

/** The same with WebSockets, which are told to go away (1001) before it ends. */
export const streaming = (version: string): Files =>
  app(
    version,
    `
const { createHash } = require("crypto");
const sockets = new Set();
const server = http.createServer(answer).listen(process.env.PORT);
server.on("upgrade", (request, socket) => {
  const key = createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nupgrade: websocket\\r\\nconnection: Upgrade\\r\\nsec-websocket-accept: " + key + "\\r\\n\\r\\n");
  let number = 0;
  const tell = () => {
    const text = Buffer.from(process.env.BERTH_INSTANCE + " " + number++);
    socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
  };
  tell();
  const timer = setInterval(tell, 100);
  const leave = () => { clearInterval(timer); socket.write(Buffer.from([0x88, 2, 0x03, 0xe9])); };
  sockets.add(leave);
  // The only thing that a client of the tests says is its close frame: then both have said it, and the server closes first.
  socket.on("data", () => socket.end());
  socket.on("error", () => undefined);
  socket.on("close", () => { clearInterval(timer); sockets.delete(leave); });
});
process.on("SIGTERM", () => {
  for (const bye of open) bye();
  for (const leave of sockets) leave();
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
`,
  );

/** Has no ear for SIGTERM: it has to be killed. */
export const deaf = (version: string): Files =>
  app(
    version,
    `
http.createServer(answer).listen(process.env.PORT);
process.on("SIGTERM", () => {});
`,
  );

/** Closes keep-alive connections without saying so: after every few answers, and idle ones after next to no time. */
export const rude = (version: string): Files =>
  app(
    version,
    `
const server = http.createServer(answer).listen(process.env.PORT);
server.keepAliveTimeout = 0;
let count = 0;
server.on("request", (request, response) => {
  const { socket } = request;
  count += 1;
  if (count % 7 === 0) response.on("finish", () => setImmediate(() => socket.destroy()));
  else if (count % 5 === 0) response.on("finish", () => socket.resetAndDestroy && setTimeout(() => { if (!socket.busy) socket.resetAndDestroy(); }, 3));
  socket.busy = true;
  response.on("finish", () => { socket.busy = false; });
});
process.on("SIGTERM", () => process.exit(0));
`,
  );

/** Listens long before it can answer: until then everything is 503, or not answered at all. */
export const early = (version: string): Files =>
  app(
    version,
    `
let ready = false;
setTimeout(() => { ready = true; }, 1500);
http.createServer((request, response) => {
  if (ready) return answer(request, response);
  request.resume();
  if (request.url.startsWith("/ready")) { response.statusCode = 503; return response.end("not yet"); }
  response.statusCode = 500;
  response.end("asked too early");
}).listen(process.env.PORT);
process.on("SIGTERM", () => process.exit(0));
`,
  );
