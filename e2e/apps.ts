// Small programs without dependencies that end-to-end tests deploy, and a terminal client for their sessions.
import { WebSocket } from "ws";
import { readTerminalControl, readTerminalFrame, terminalFrame, terminalProtocol, type TerminalControl } from "@berth/contract/terminal.ts";
import type { Files } from "./harness.ts";

const manifest = { "package.json": JSON.stringify({ name: "app", scripts: { start: "node web.js" } }) };

/** Answers GET /env, /crash, /hang (liveness fails from then on), /fetch (asks API_URL), /count (a counter in the volume `data`); else its version and instance. */
export const programs = (version: string): Files => ({
  ...manifest,
  "web.js": `const http = require("http"); const fs = require("fs");
let hung = false;
const count = () => { const file = process.env.BERTH_VOLUME_DATA + "/count"; const now = Number(fs.existsSync(file) ? fs.readFileSync(file, "utf8") : 0) + 1; fs.writeFileSync(file, String(now)); return String(now); };
const server = http.createServer(async (request, response) => {
  try {
    if (request.url === "/env") return response.end(JSON.stringify(process.env));
    if (request.url === "/hang") { hung = true; return response.end("hung"); }
    if (request.url === "/alive") { response.statusCode = hung ? 500 : 200; return response.end("alive"); }
    if (request.url === "/fetch") return response.end(await (await fetch(process.env.API_URL + "/count")).text());
    if (request.url === "/count") return response.end("${version} " + count());
    response.end("${version} " + process.env.BERTH_INSTANCE);
  } catch (error) { response.statusCode = 502; response.end(String(error)); }
});
if (process.env.SECRET_TEXT) { console.log("the secret is " + process.env.SECRET_TEXT + "!"); console.error(JSON.stringify({ password: process.env.SECRET_TEXT })); }
server.listen(process.env.PORT, () => console.log("listening " + "${version}"));
process.on("SIGTERM", () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });
`,
  "worker.js": `let n = 0;
const work = async () => { try { n += 1; const body = process.env.API_URL ? await (await fetch(process.env.API_URL + "/count")).text() : "alone"; console.log("job " + n + " got " + body); } catch (error) { console.error(String(error)); } };
setInterval(work, 200);
process.on("SIGTERM", () => { console.log("worker leaves"); process.exit(0); });
`,
  "tcp.js": `const server = require("net").createServer((socket) => { socket.on("error", () => {}); socket.on("data", (data) => socket.write("${version}:" + data)); });
server.listen(process.env.PORT);
process.on("SIGTERM", () => process.exit(0));
`,
  "ask.js": `const socket = require("net").connect(Number(process.env.ECHO_PORT), process.env.ECHO_HOST, () => socket.write("inside"));
socket.on("data", (data) => { console.log("answer " + data); process.exit(0); });
`,
  "job.js": `console.log("job ran in " + process.env.RUN_ENV); console.error("to stderr");
`,
});

export interface SessionResult {
  readonly output: string;
  readonly end: TerminalControl | undefined;
}
/** Runs a command over the WebSocket of `openTerminal`; `drive` gets every piece of output so far and may write. */
export function runSession(
  address: { readonly url: string; readonly headers: Readonly<Record<string, string>> },
  drive: (
    session: { readonly write: (text: string) => void; readonly control: (message: TerminalControl) => void },
    output: string,
  ) => void,
): Promise<SessionResult> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address.url, [terminalProtocol], { headers: { ...address.headers } });
    let output = "";
    let end: TerminalControl | undefined;
    const session = {
      write: (text: string) => {
        socket.send(terminalFrame("stdin", Buffer.from(text)));
      },
      control: (message: TerminalControl) => {
        socket.send(JSON.stringify(message));
      },
    };
    socket.on("open", () => {
      drive(session, output);
    });
    socket.on("message", (data: Buffer, binary: boolean) => {
      if (!binary) {
        end = readTerminalControl(data.toString("utf8")) ?? end;
        return;
      }
      const frame = readTerminalFrame(data);
      if (frame === undefined) return;
      output += Buffer.from(frame.bytes).toString("utf8");
      drive(session, output);
    });
    socket.on("close", () => {
      resolve({ output, end });
    });
    socket.on("error", reject);
    socket.on("unexpected-response", (_request, response) => {
      reject(new Error(`HTTP ${response.statusCode ?? 0}`));
    });
  });
}
