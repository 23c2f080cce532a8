// An agent for tests: passes on the readiness that a test writes to its socket, one JSON line each, and answers when it was sent.
import { readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { childMessage, onPrimaryGone, primaryMessage, sendToPrimary } from "../../messages.ts";

// As it is: checking it would take longer than all the rest here.
const { runDir } = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as { readonly runDir: string };
const path = join(runDir, "agent.sock");
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
