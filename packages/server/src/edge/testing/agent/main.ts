// An agent for tests: passes on the readiness that a test writes to its socket, one JSON line each, and answers when it was sent.
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { readEdgeConfig } from "../../config.ts";
import { childMessage, onPrimaryGone, primaryMessage, sendToPrimary } from "../../messages.ts";

const config = await readEdgeConfig(process.argv[2]);
const path = join(config.runDir, "agent.sock");
rmSync(path, { force: true });
createServer((socket) => {
  createInterface({ input: socket }).on("line", (line) => {
    const message = childMessage(JSON.parse(line));
    if (message !== undefined) sendToPrimary(message);
    socket.write("sent\n");
  });
}).listen(path, () => {
  sendToPrimary({ type: "started" });
});
process.on("message", (value) => {
  if (primaryMessage(value) !== undefined) process.exit(0);
});
onPrimaryGone(() => {
  process.exit(0);
});
