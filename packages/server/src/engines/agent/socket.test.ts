// Calls over an agent's socket: whose fault a call that fails is.
import { once } from "node:events";
import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SocketClient } from "./socket.ts";

let home = "";
beforeEach(() => (home = mkdtempSync(join(tmpdir(), "berth-socket-"))));
afterEach(() => rmSync(home, { recursive: true, force: true }));

it("an upload fails of what its bytes failed of, also before it began: nobody is unreachable", async () => {
  const server = createServer((request, response) => request.resume().once("end", () => response.end()));
  await once(server.listen(join(home, "s")), "listening");
  const client = new SocketClient(join(home, "s"), "here");
  const body = new Readable({ read: () => undefined });
  body.once("error", () => undefined).destroy(new Error("the line went dead"));
  await new Promise((resolve) => body.once("close", resolve));
  await expect(client.upload("/v1/archives", body, new AbortController().signal)).rejects.toThrow("the line went dead");
  await client.close();
  server.closeAllConnections();
  server.close();
});

it("an upload to where nobody listens is worth a retry", async () => {
  const client = new SocketClient(join(home, "s"), "here");
  const sent = client.upload("/v1/archives", Readable.from([Buffer.from("x")]), new AbortController().signal);
  await expect(sent).rejects.toMatchObject({ failure: { code: "cluster_unreachable", params: { cluster: "here" } }, retryable: true });
  await client.close();
});
