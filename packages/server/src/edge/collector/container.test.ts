// What a collector does with a daemon that forgets to end a stream: over a real socket, since no daemon does so when it is wanted.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { DockerApi } from "../../docker/api.ts";
import { ContainerSource } from "./container.ts";
import { ComponentStore, Stamps } from "./store.ts";

/** A message of a container's output: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach */
function frame(line: string): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt8(1, 0);
  head.writeUInt32BE(Buffer.byteLength(line), 4);
  return Buffer.concat([head, Buffer.from(line)]);
}

it("reads the last lines of a container that ended although the daemon keeps its stream open", async () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-container-"));
  const lines = ["one", "two", "last"].map((text, at) => frame(`2030-01-01T00:00:0${String(at)}.000000000Z ${text}\n`));
  const daemon = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://daemon");
    if (!pathname.endsWith("/logs")) return response.end(JSON.stringify({ ApiVersion: "1.41" }));
    response.writeHead(200, { "content-type": "application/octet-stream" });
    // The last line only shows when it is asked for anew.
    if (searchParams.get("follow") === "true") return response.write(Buffer.concat(lines.slice(0, 2)));
    return response.end(Buffer.concat(lines));
  });
  const path = join(dir, "daemon.sock");
  await new Promise<void>((resolve) => daemon.listen(path, resolve));
  const api = new DockerApi({ type: "unix", path });
  const store = new ComponentStore(join(dir, "store"), { maxFileBytes: 1_000_000, maxFiles: 4 }, new Stamps(Date.now));
  const of = { dir, instance: "web-a", secrets: [], maxLineBytes: 1_000, container: { id: "abc", tty: false } };
  const source = new ContainerSource(of, store, { api, now: Date.now, say: () => undefined, onDrained: () => undefined });
  const append = vi.spyOn(store, "append");
  const read = (): string[] => append.mock.calls.flatMap(([, , texts]) => texts);
  try {
    writeFileSync(join(dir, "run"), "1");
    source.open();
    await expect.poll(read, { timeout: 30_000 }).toEqual(["one", "two"]);
    writeFileSync(join(dir, "ended"), "");
    await expect.poll(() => source.look(), { timeout: 30_000 }).toBe(true);
    expect(read()).toEqual(["one", "two", "last"]);
    expect(existsSync(join(dir, "drained"))).toBe(true);
    expect(readFileSync(join(dir, "position"), "utf8")).toContain("2030-01-01T00:00:02");
  } finally {
    source.close();
    store.close();
    daemon.closeAllConnections();
    daemon.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
