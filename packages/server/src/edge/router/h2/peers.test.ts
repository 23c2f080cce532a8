// Clients of HTTP/2 that others wrote: curl, nghttp and h2load. Where they are not installed, this says so.
import { execFile, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testCertificate } from "../../testing/certificates.ts";
import { securePort } from "../../testing/h2.ts";
import { endpoint, fence, host, never, TestEdge, webEntry, type TestEndpoint } from "../../testing/harness.ts";

const run = promisify(execFile);
/** Without it the test is skipped, but where everything is to be run it fails. */
const isWithout = (command: string): boolean =>
  spawnSync("sh", ["-c", `command -v ${command}`]).status !== 0 && process.env["BERTH_REQUIRE_ALL"] !== "1";
let edge: TestEdge;
let instance: TestEndpoint;
let folder = "";
let port = 0;

beforeAll(async () => {
  edge = await TestEdge.start({ https: { port: 0, portIsDefault: false } });
  instance = await endpoint("i1", (req, res) => {
    if (req.method === "POST") req.pipe(res);
    else res.end(`hello ${req.url ?? ""}`);
  });
  // nghttp's head with continuation frames has 19 KB.
  Object.assign(instance.server, { maxHeaderSize: 64 * 1024 });
  await edge.traffic.apply(await webEntry([instance.endpoint]), fence(1), never);
  await edge.ready({ i1: true });
  const { certificate, key } = testCertificate({ hosts: [host] });
  await edge.traffic.setCertificates([{ name: "one", chain: certificate, key, isDefault: true }], fence(1), never);
  port = await securePort(edge);
  folder = await mkdtemp(join(tmpdir(), "berth-h2-"));
  await writeFile(join(folder, "ca.pem"), certificate);
}, 120_000);
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
  await instance[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

describe("others' clients of HTTP/2", { timeout: 240_000 }, () => {
  it.skipIf(isWithout("curl"))("curl gets pages and sends files, in TLS and by prior knowledge", async () => {
    const body = randomBytes(3_000_000);
    const [sent, back] = [join(folder, "sent"), join(folder, "back")];
    await writeFile(sent, body);
    for (const flags of [
      [
        "--http2",
        "--cacert",
        join(folder, "ca.pem"),
        "--resolve",
        `${host}:${String(port)}:127.0.0.1`,
        `https://${host}:${String(port)}/a?b`,
      ],
      ["--http2-prior-knowledge", "--resolve", `${host}:${String(edge.port)}:127.0.0.1`, `http://${host}:${String(edge.port)}/a?b`],
    ]) {
      const { stdout } = await run("curl", ["-sS", "-w", " %{http_version} %{response_code}", ...flags]);
      expect(stdout).toBe("hello /a?b 2 200");
      await run("curl", ["-sSf", "-X", "POST", "--data-binary", `@${sent}`, "-o", back, ...flags]);
      expect((await readFile(back)).equals(body)).toBe(true);
    }
    // One that asks for an upgrade is answered in HTTP/1.1, as it may be.
    const { stdout } = await run("curl", [
      "-sS",
      "--http2",
      "-w",
      " %{http_version}",
      "-H",
      `Host: ${host}`,
      `http://127.0.0.1:${String(edge.port)}/`,
    ]);
    expect(stdout).toBe("hello / 1.1");
  });

  it.skipIf(isWithout("h2load"))("h2load gets every one of 5,000 answers, over few connections and many streams", async () => {
    const { stdout } = await run("h2load", [
      "-n5000",
      "-c10",
      "-m50",
      "--connect-to",
      `127.0.0.1:${String(port)}`,
      `https://${host}:${String(port)}/x`,
    ]);
    expect(stdout).toContain("5000 succeeded, 0 failed, 0 errored, 0 timeout");
    expect(stdout).toContain("status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx");
  });

  it.skipIf(isWithout("nghttp"))("nghttp gets a page with continuation frames, and is told of the limits", async () => {
    const { stdout } = await run("nghttp", [
      "-v",
      "--continuation",
      "-n",
      "-H",
      `:authority: ${host}`,
      `http://127.0.0.1:${String(edge.port)}/x`,
    ]);
    expect(stdout.match(/:status: \d+/g)).toEqual([":status: 200"]);
    expect(stdout.includes("SETTINGS_MAX_CONCURRENT_STREAMS(0x03):128")).toBe(true);
  });
});
