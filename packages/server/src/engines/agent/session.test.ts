// Sessions over an agent's socket: what an agent that says something else does to them, and to nobody else.
import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { encodeFrame, frameTypes, type ExecRequest } from "./protocol.ts";
import { openSession } from "./session.ts";

let home = "";
let says: readonly Buffer[] = [];
const agent = createServer();
const open = new Set<Duplex>();
agent.on("upgrade", (_request, socket) => {
  open.add(socket);
  socket.on("error", () => undefined);
  socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: berth-exec\r\n\r\n");
  for (const bytes of says) socket.write(bytes);
});
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "berth-session-"));
  await new Promise<void>((resolve) => agent.listen(join(home, "s"), resolve));
});
afterEach(async () => {
  for (const socket of open) socket.destroy();
  await new Promise((resolve) => agent.close(resolve));
  rmSync(home, { recursive: true });
});

const start: ExecRequest = { ref: { stack: "shop", component: "web" }, instance: "web-a", command: { exec: ["true"] } };
const begin = () => openSession(join(home, "s"), start, new AbortController().signal);

it.each([
  ["a frame that is larger than any", [Buffer.from("not a frame at all, and a long one")]],
  ["an end that is no JSON", [encodeFrame(frameTypes.exit, Buffer.from("{"))]],
])("ends with an error for %s", async (_what, bytes) => {
  says = bytes;
  const session = await begin();
  await expect(session.stream.toArray()).rejects.toThrow();
  await expect(session.exit).rejects.toMatchObject({ code: "wrong_state" });
});

it("gives what the command wrote and how it ended", async () => {
  says = [
    encodeFrame(frameTypes.stdout, Buffer.from("hello ")),
    encodeFrame(frameTypes.stderr, Buffer.from("you")),
    encodeFrame(frameTypes.exit, Buffer.from(JSON.stringify({ exitCode: 3 }))),
  ];
  const session = await begin();
  expect(Buffer.concat((await session.stream.toArray()) as Buffer[]).toString()).toBe("hello you");
  expect(await session.exit).toEqual({ exitCode: 3 });
});
