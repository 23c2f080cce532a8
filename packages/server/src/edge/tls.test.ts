// HTTPS at the edge: which certificate a client is shown, what it is not let do, and that neither a new certificate nor another primary costs a connection.
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BerthError } from "../core/errors.ts";
import type { GivenCertificate } from "../engines/traffic.ts";
import { testCertificate, type TestCertificate } from "./testing/certificates.ts";
import {
  endpoint,
  fence,
  fetchRaw,
  host,
  installation,
  never,
  TestEdge,
  testEntry,
  until,
  webEntry,
  type TestEndpoint,
} from "./testing/harness.ts";

const secureOnly = "secure.shop.localhost";
const https = { port: 0, portIsDefault: false };
let edge: TestEdge;
const behind: TestEndpoint[] = [];
beforeAll(async () => {
  // Some connections ask for nothing until much else was done.
  edge = await TestEdge.start({ https, succession: true, trustedProxies: ["127.0.0.2"], limits: { headersTimeout: 300_000 } });
  await serving(edge);
}, 120_000);
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
  for (const one of behind) await one[Symbol.asyncDispose]();
});

let generation = 0;
/** In place of those of the test before. */
function put(...certificates: readonly GivenCertificate[]): Promise<void> {
  generation += 1;
  return edge.traffic.setCertificates(certificates, fence(generation), never);
}
/** An edge that leads to one instance, which answers with what it was told. */
const told: RequestListener = (req, res) => {
  res.end(JSON.stringify({ proto: req.headers["x-forwarded-proto"], port: req.headers["x-forwarded-port"] }));
};
async function serving(edge: TestEdge, listener = told): Promise<void> {
  const instance = await endpoint("i1", listener);
  instance.server.on("upgrade", (_req, socket) => {
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    socket.pipe(socket);
  });
  behind.push(instance);
  const hosts = [
    { host, path: "/" },
    { host: secureOnly, path: "/", https: "redirect" as const },
  ];
  await edge.traffic.apply(await webEntry([instance.endpoint], {}, { hosts }), fence(1), never);
  await edge.ready({ i1: true });
}
const given = (name: string, { certificate, key }: TestCertificate, isDefault = false): GivenCertificate => ({
  name,
  chain: certificate,
  key,
  isDefault,
});
async function securePort(edge: TestEdge): Promise<number> {
  const { https } = await edge.traffic.hello(never);
  if (https === undefined || https.problem !== undefined) throw new Error(`no HTTPS: ${https?.problem ?? "not wanted"}`);
  return https.port;
}

interface Met {
  readonly socket: TLSSocket;
  readonly fingerprint: string;
}
async function handshake(port: number, options: ConnectionOptions = {}): Promise<Met> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  await once(socket, "secureConnect");
  const fingerprint = socket.getPeerCertificate().raw.toString("base64");
  return { socket, fingerprint };
}
async function shown(port: number, servername?: string): Promise<string> {
  const { socket, fingerprint } = await handshake(port, servername === undefined ? {} : { servername });
  socket.destroy();
  return fingerprint;
}
const printOf = ({ certificate }: TestCertificate): string => certificate.replace(/-----[A-Z ]+-----|\n/g, "");
/** The body of one answer with a length. */
async function ask(socket: TLSSocket, path = "/", of = host): Promise<string> {
  let text = "";
  const read = (chunk: Buffer): void => {
    text += chunk.toString("latin1");
  };
  socket.on("data", read);
  try {
    socket.write(`GET ${path} HTTP/1.1\r\nhost: ${of}\r\n\r\n`);
    await until(() => {
      const length = /content-length: (\d+)/i.exec(text)?.[1] ?? /transfer-encoding: chunked[\s\S]*\r\n0\r\n\r\n$/i.exec(text)?.[0];
      if (length !== undefined && (!/^\d+$/.test(length) || (text.split("\r\n\r\n")[1] ?? "").length >= Number(length))) return true;
      if (socket.destroyed) throw new Error(`the connection was closed; so far: ${text}`);
      return false;
    }, 60_000);
  } finally {
    socket.off("data", read);
  }
  return text;
}

describe("HTTPS at the edge", { timeout: 300_000 }, () => {
  it("shows the exact certificate first, then the wildcard, then the standard one, and serves what HTTP does", async () => {
    expect((await edge.traffic.hello(never)).https).toBeUndefined();
    const exact = testCertificate({ hosts: [host, "other.example.org"] });
    const wildcard = testCertificate({ hosts: ["*.example.org"] });
    const standard = testCertificate({ hosts: ["fallback.test"] });
    await put(given("wild", wildcard), given("exact", exact), given("standard", standard, true));
    const port = await securePort(edge);
    expect(await shown(port, host)).toBe(printOf(exact));
    expect(await shown(port, "OTHER.example.org")).toBe(printOf(exact));
    expect(await shown(port, "a.example.org")).toBe(printOf(wildcard));
    for (const name of ["a.b.example.org", "example.org", "unknown.test", undefined])
      expect(await shown(port, name), name).toBe(printOf(standard));
    const both = await handshake(port, { servername: host, ALPNProtocols: ["http/1.1", "h2"] });
    expect(both.socket.alpnProtocol).toBe("h2");
    both.socket.destroy();
    const { socket } = await handshake(port, { servername: host, ALPNProtocols: ["http/1.1"] });
    expect(socket.alpnProtocol).toBe("http/1.1");
    expect(await ask(socket)).toContain(`{"proto":"https","port":"${String(port)}"}`);
    socket.destroy();
    expect((await edge.traffic.metrics(never)).match(/berth_edge_connections_total\{listener="secure"\} (\d+)/)?.[1]).not.toBe("0");
  });

  it("refuses what is older than TLS 1.2 and ciphers without forward secrecy", async () => {
    await put(given("one", testCertificate({ hosts: [host] })));
    const port = await securePort(edge);
    const old = { servername: host, minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" } as const;
    await expect(handshake(port, old)).rejects.toThrow(/protocol|version|alert/i);
    await expect(
      handshake(port, { servername: host, maxVersion: "TLSv1.2", ciphers: "AES128-SHA256:AES256-SHA256:AES128-GCM-SHA256" }),
    ).rejects.toThrow();
    const { socket } = await handshake(port, { servername: host, maxVersion: "TLSv1.2" });
    expect(socket.getCipher().name).toMatch(/^ECDHE-.*(GCM|CHACHA20)/);
    socket.destroy();
  });

  it("takes a new certificate without a failed handshake or a dropped connection, under load", async () => {
    const certificates = [0, 1, 2, 3].map(() => testCertificate({ hosts: [host] }));
    const prints = new Set(certificates.map(printOf));
    const renew = (index: number): Promise<void> => put(given("web", certificates[index % 4] ?? testCertificate()));
    await renew(0);
    const port = await securePort(edge);
    const kept = await Promise.all([0, 1, 2, 3].map(() => handshake(port, { servername: host })));
    let stopped = false;
    let handshakes = 0;
    const failed: string[] = [];
    const work = async (): Promise<void> => {
      while (!stopped) {
        try {
          const { socket, fingerprint } = await handshake(port, { servername: host });
          if (!prints.has(fingerprint)) failed.push("a certificate of nobody");
          if (!(await ask(socket)).startsWith("HTTP/1.1 200")) failed.push("no answer");
          socket.destroy();
          handshakes += 1;
        } catch (error) {
          failed.push(String(error));
        }
      }
    };
    const all = Promise.all([work(), work(), work(), work()]);
    for (let index = 1; index <= 12; index += 1) {
      await renew(index);
      // What was answered is in force: in every router, for whoever connects now.
      for (let again = 0; again < 3; again += 1)
        expect(await shown(port, host)).toBe(printOf(certificates[index % 4] ?? testCertificate()));
    }
    await edge.traffic.reload(never);
    await until(() => handshakes > 12 || failed.length > 0);
    stopped = true;
    await all;
    expect(failed).toEqual([]);
    for (const { socket, fingerprint } of kept) {
      expect(fingerprint).toBe(printOf(certificates[0] ?? testCertificate()));
      expect(await ask(socket)).toMatch(/^HTTP\/1.1 200/);
      socket.destroy();
    }
  });

  it("carries WebSockets", async () => {
    await put(given("web", testCertificate({ hosts: [host] })));
    const { socket } = await handshake(await securePort(edge), { servername: host });
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`);
    await until(() => text.startsWith("HTTP/1.1 101"));
    socket.write("to and fro");
    await until(() => text.endsWith("to and fro"));
    socket.destroy();
  });

  it("sends plain requests of a domain that wants it to HTTPS, once a certificate covers it", async () => {
    const plain = (headers: Record<string, string> = {}, localAddress = "127.0.0.1") =>
      fetchRaw(edge.port, { path: "/a?b=c", method: "POST", localAddress, headers: { host: secureOnly, ...headers } }, "body");
    expect((await plain()).status).toBe(200);
    await put(given("other", testCertificate({ hosts: ["other.test"] })));
    expect((await plain()).status).toBe(200);
    await put(given("web", testCertificate({ hosts: [secureOnly] })));
    const port = await securePort(edge);
    expect(await plain()).toMatchObject({ status: 308, headers: { location: `https://${secureOnly}:${String(port)}/a?b=c` } });
    expect((await plain({ "x-forwarded-proto": "https" })).status).toBe(308);
    expect((await plain({ "x-forwarded-proto": "https" }, "127.0.0.2")).status).toBe(200);
    expect((await fetchRaw(edge.port, { headers: { host } })).status).toBe(200);
  });

  it("tells browsers to stay with HTTPS, where it is set, a certificate covers the host, and the component says nothing else", async () => {
    await using strict = await TestEdge.start({ https, hstsSeconds: 600 });
    await serving(strict, (req, res) => {
      if (req.url === "/own") res.setHeader("Strict-Transport-Security", "max-age=1");
      res.end("x");
    });
    await strict.traffic.setCertificates([given("web", testCertificate({ hosts: [host] }))], fence(1), never);
    const port = await securePort(strict);
    const headers = async (path: string, servername: string): Promise<string> => {
      const { socket } = await handshake(port, { servername });
      const answer = await ask(socket, path, servername);
      socket.destroy();
      return answer.toLowerCase();
    };
    expect(await headers("/", host)).toContain("strict-transport-security: max-age=600\r\n");
    expect(await headers("/own", host)).toMatch(/strict-transport-security: max-age=1\r\n/);
    expect(await headers("/own", host)).not.toContain("max-age=600");
    expect(await headers("/", secureOnly)).not.toContain("strict-transport-security");
    expect((await fetchRaw(strict.port, { headers: { host } })).headers).not.toHaveProperty("strict-transport-security");
    // Nobody asked for it.
    await put(given("web", testCertificate({ hosts: [host] })));
    const { socket } = await handshake(await securePort(edge), { servername: host });
    expect((await ask(socket)).toLowerCase()).not.toContain("strict-transport-security");
    socket.destroy();
  });

  it("answers an authority before the redirect and before the component, for its host and token alone, until it is taken back", async () => {
    await put(given("web", testCertificate({ hosts: [secureOnly] })));
    const epoch = { installation, epoch: 1 };
    const proof = { host: secureOnly, token: "tok-1", answer: "tok-1.print", until: Date.now() + 60_000 };
    const at = (of: string, path: string, method = "GET") => fetchRaw(edge.port, { path, method, headers: { host: of } });
    const place = "/.well-known/acme-challenge/";
    expect((await at(secureOnly, `${place}tok-1`)).status).toBe(308);
    await edge.traffic.setProof(proof, epoch, never);
    await edge.traffic.setProof({ ...proof, host: "nobody.test", token: "tok-2", answer: "tok-2.print" }, epoch, never);
    const answer = await at(secureOnly, `${place}tok-1`);
    expect({ status: answer.status, body: answer.body.toString() }).toEqual({ status: 200, body: "tok-1.print" });
    // A host that nothing serves, and every router.
    for (let again = 0; again < 4; again += 1) expect((await at("nobody.test", `${place}tok-2`)).body.toString()).toBe("tok-2.print");
    expect((await at(secureOnly, `${place}tok-2`)).status).toBe(308);
    expect((await at(secureOnly, `${place}tok-1`, "POST")).status).toBe(308);
    // It outlives routers and primary alike.
    await edge.traffic.reload(never);
    expect((await at(secureOnly, `${place}tok-1`)).status).toBe(200);
    expect(JSON.parse(await readFile(join(edge.home, "edge", "proofs.json"), "utf8"))).toMatchObject({
      proofs: [{ token: "tok-1" }, { token: "tok-2" }],
    });
    await edge.traffic.setProof({ ...proof, token: "tok-3", answer: "tok-3.print", until: Date.now() - 1 }, epoch, never);
    expect((await at(secureOnly, `${place}tok-3`)).status).toBe(308);
    await edge.traffic.removeProof("tok-1", epoch, never);
    expect((await at(secureOnly, `${place}tok-1`)).status).toBe(308);
    await edge.traffic.removeProof("tok-1", epoch, never);
    await expect(edge.traffic.setProof(proof, { installation: "another", epoch: 1 }, never)).rejects.toMatchObject({ code: "wrong_state" });
    await expect(edge.traffic.setProof({ ...proof, answer: "<html>" }, epoch, never)).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("refuses a key that does not fit, and goes on with what it has", async () => {
    const good = testCertificate({ hosts: [host] });
    await put(given("web", good));
    const wrong = { ...given("web", testCertificate({ hosts: [host] })), key: good.key };
    await expect(put(wrong)).rejects.toThrow(BerthError);
    expect(await shown(await securePort(edge), host)).toBe(printOf(good));
  });

  it("survives clients that speak no TLS, and those that leave in the middle of a handshake", async () => {
    await put(given("web", testCertificate({ hosts: [host] })));
    const port = await securePort(edge);
    const workers = await edge.workers();
    await expect(fetchRaw(port, { headers: { host } })).rejects.toThrow();
    await expect(handshake(port, { servername: host, ALPNProtocols: ["spdy/3"] })).rejects.toThrow();
    for (let count = 0; count < 20; count += 1)
      connect({ host: "127.0.0.1", port, servername: host })
        .on("error", () => undefined)
        .destroy();
    const { socket } = await handshake(port, { servername: host });
    expect(await ask(socket)).toMatch(/^HTTP\/1.1 200/);
    socket.destroy();
    expect(await edge.workers()).toEqual(workers);
  });

  it("hands the HTTPS socket to the next edge, and requests go on", async () => {
    await put(given("web", testCertificate({ hosts: [host] })));
    const port = await securePort(edge);
    const { socket } = await handshake(port, { servername: host });
    const failed: string[] = [];
    let stopped = false;
    const all = Promise.all(
      [0, 1].map(async () => {
        while (!stopped)
          await handshake(port, { servername: host })
            .then(async (met) => {
              await ask(met.socket);
              met.socket.destroy();
            })
            .catch((error: unknown) => failed.push(String(error)));
      }),
    );
    const before = (await edge.traffic.hello(never)).pid;
    await edge.traffic.upgrade({ node: process.execPath, entry: testEntry }, never);
    await until(
      () =>
        edge.traffic.hello(never).then(
          ({ pid }) => pid !== before,
          () => false,
        ),
      60_000,
    );
    stopped = true;
    await all;
    expect(failed).toEqual([]);
    expect(await edge.traffic.hello(never)).not.toMatchObject({ pid: before });
    expect(await securePort(edge)).toBe(port);
    expect(await ask(socket)).toMatch(/^HTTP\/1.1 200/);
    socket.destroy();
  });

  it("starts alone with what it was given, on the same port, and keeps keys from everybody else", async () => {
    await using lone = await TestEdge.start({ https });
    const certificate = testCertificate({ hosts: [host] });
    await lone.traffic.setCertificates([given("web", certificate)], fence(7), never);
    const port = await securePort(lone);
    const file = join(lone.home, "edge", "certificates.json");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, "utf8")).toContain("PRIVATE KEY");
    await lone.down("SIGKILL");
    await lone.up();
    expect(await securePort(lone)).toBe(port);
    expect(await shown(port, host)).toBe(printOf(certificate));
    // The control plane lost the keys: what is in force stays, and what never was is left out.
    await lone.traffic.setCertificates(
      [
        { ...given("web", certificate), key: "" },
        { ...given("other", testCertificate({ hosts: ["other.test"] })), key: "" },
      ],
      fence(7),
      never,
    );
    expect((await lone.traffic.hello(never)).https).toMatchObject({ hosts: [host] });
    expect(await shown(port, host)).toBe(printOf(certificate));
    await expect(lone.traffic.setCertificates([], fence(6), never)).rejects.toMatchObject({ code: "stale_generation" });
    await lone.traffic.setCertificates([], fence(8), never);
    expect((await lone.traffic.hello(never)).https).toBeUndefined();
    await expect(shown(port, host)).rejects.toThrow(/ECONNREFUSED/);
    expect(lone.stderr).not.toContain("PRIVATE KEY");
  });
});
