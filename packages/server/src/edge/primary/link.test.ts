// How the primary hears its routers: whole messages, whatever becomes of the one who sends them.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { FromRouter } from "../ipc.ts";
import { listenForRouters } from "./link.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-link-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it("a router that is killed in the middle of a message said nothing with it, and the primary lives on", async () => {
  const heard: FromRouter[] = [];
  const over = Promise.withResolvers<void>();
  const server = listenForRouters(() => ({
    onMessage: (message) => heard.push(message),
    onError: over.reject,
    onEnd: () => {
      over.resolve();
    },
  }));
  const path = join(folder, "routers.sock");
  await once(server.listen(path), "listening");
  try {
    const socket = connect(path);
    await once(socket, "connect");
    const told: FromRouter = { type: "unlisten", host: "127.0.0.1", port: 1 };
    const text = JSON.stringify(told);
    // In pieces that have nothing to do with lines, one of them in the middle of a character.
    const bytes = Buffer.from(
      `${JSON.stringify({ type: "orphan", pid: process.pid, role: "accepting" })}\n${text}\n${text}\n{"type":"broken","reason":"é`,
    );
    for (let at = 0; at < bytes.length; at += 7) socket.write(bytes.subarray(at, at + 7));
    socket.end();
    await over.promise;
    expect(heard).toEqual([told, told]);
  } finally {
    server.close();
  }
});
