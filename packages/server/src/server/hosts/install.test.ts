// What is read from a host's containers, where the daemon's answer comes in pieces or breaks off. No daemon does either when it is wanted: a socket that speaks like one.
import { createServer, type ServerResponse } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DockerApi } from "../../docker/api.ts";
import { readFile } from "./install.ts";

let dir = "";
let answer: (response: ServerResponse) => void;
const daemon = createServer((request, response) => {
  if (request.url === "/version") response.end(JSON.stringify({ ApiVersion: "1.41" }));
  else answer(response);
});
let api: DockerApi;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "berth-host-"));
  await new Promise<void>((resolve) => daemon.listen(join(dir, "s"), resolve));
  api = new DockerApi({ type: "unix", path: join(dir, "s") });
});
afterEach(async () => {
  api.close();
  daemon.closeAllConnections();
  await new Promise((resolve) => daemon.close(resolve));
  rmSync(dir, { recursive: true });
});

const content = "a line of the config\n".repeat(20_000);
async function archive(): Promise<Buffer> {
  const tar = pack();
  tar.entry({ name: "edge.json" }, content);
  tar.finalize();
  return buffer(tar);
}

it("is whole however many pieces it comes in, and what is left of the answer hurts nobody", async () => {
  const bytes = await archive();
  answer = (response) => {
    response.write(bytes.subarray(0, 700));
    setImmediate(() => response.write(bytes.subarray(700)));
    // The end of the archive does not come for as long as somebody waits for it.
  };
  const life = new AbortController();
  expect(await readFile(api, "edge", "/edge.json", life.signal)).toBe(content);
  life.abort(new Error("the host goes away"));
  await new Promise((resolve) => setImmediate(resolve));
});

it("fails of a connection that breaks in the middle", async () => {
  const bytes = await archive();
  answer = (response) => {
    response.write(bytes.subarray(0, 100_000), () => response.destroy());
  };
  await expect(readFile(api, "edge", "/edge.json", new AbortController().signal)).rejects.toThrow();
});

it("is nothing where there is no such file", async () => {
  answer = (response) => {
    response.writeHead(404).end(JSON.stringify({ message: "no such file" }));
  };
  expect(await readFile(api, "edge", "/edge.json", new AbortController().signal)).toBeUndefined();
});
