// What Berth itself asks of a real registry, and what the doctor makes of its answers.
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { registryCheck } from "../server/doctor-registry.ts";
import { RegistryClient, RegistryRefused, RegistryUnreachable } from "./registry-client.ts";
import { registryMissing, startRegistry, type TestRegistry } from "./testing/registry.ts";

const missing = registryMissing();
const never = new AbortController().signal;

describe.skipIf(missing !== undefined)(`a registry${missing === undefined ? "" : ` (${missing})`}`, () => {
  let registry: TestRegistry;
  let strict: TestRegistry;
  beforeAll(async () => {
    [registry, strict] = await Promise.all([startRegistry(), startRegistry({ deletes: false })]);
  });
  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await strict?.[Symbol.asyncDispose]();
  });

  const client = (to: TestRegistry, password: string | undefined = to.login.password, host = to.host): RegistryClient =>
    new RegistryClient({
      host,
      plainHttp: true,
      login: password === "" ? undefined : { username: to.login.username, password },
      proxies: {},
    });
  const put = async (to: TestRegistry, repository: string): Promise<string> => {
    const { headers } = await to.ask("POST", `/v2/${repository}/blobs/uploads/`);
    const digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    const at = new URL(headers.get("location") ?? "", "http://x");
    await to.ask("PUT", `${at.pathname}${at.search}&digest=${encodeURIComponent(digest)}`, {
      body: "{}",
      type: "application/octet-stream",
    });
    const config = { mediaType: "application/vnd.docker.container.image.v1+json", size: 2, digest };
    const type = "application/vnd.docker.distribution.manifest.v2+json";
    const body = JSON.stringify({ schemaVersion: 2, mediaType: type, config, layers: [] });
    const made = await to.ask("PUT", `/v2/${repository}/manifests/1`, { body, type });
    expect(made.status).toBe(201);
    return made.headers.get("docker-content-digest") ?? "";
  };

  it("is asked to delete, and what is gone already is gone", async () => {
    using asked = client(registry);
    const digest = await put(registry, "berth/shop/web");
    expect(await asked.removeManifest("berth/shop/web", digest, never)).toBe("gone");
    expect((await registry.ask("GET", `/v2/berth/shop/web/manifests/${digest}`)).status).toBe(404);
    expect(await asked.removeManifest("berth/shop/web", digest, never)).toBe("gone");
    expect(await asked.removeManifest("berth/never/there", digest, never)).toBe("gone");
  });

  it("is asked what a tag stands for, and says which tag it does not know", async () => {
    using asked = client(registry);
    const digest = await put(registry, "shop/moving");
    expect(await asked.digestOf("shop/moving", "1", never)).toBe(digest);
    await expect(asked.digestOf("shop/moving", "2", never)).rejects.toMatchObject({ status: 404 });
    using wrong = client(registry, "wrong");
    await expect(wrong.digestOf("shop/moving", "1", never)).rejects.toMatchObject({ status: 401 });
    registry.fault = () => ({ status: 503 });
    await expect(asked.digestOf("shop/moving", "1", never)).rejects.toMatchObject({ status: 503 });
    registry.fault = undefined;
  });

  it("may delete nothing, and that is told apart from a refusal", async () => {
    const digest = await put(strict, "berth/shop/web");
    using asked = client(strict);
    expect(await asked.removeManifest("berth/shop/web", digest, never)).toBe("stays");
    using wrong = client(strict, "wrong");
    await expect(wrong.removeManifest("berth/shop/web", digest, never)).rejects.toMatchObject({ status: 401 });
    strict.fault = () => ({ status: 503 });
    await expect(asked.removeManifest("berth/shop/web", digest, never)).rejects.toBeInstanceOf(RegistryRefused);
    strict.fault = undefined;
    using nowhere = client(strict, "x", "127.0.0.1:1");
    await expect(nowhere.removeManifest("berth/shop/web", digest, never)).rejects.toBeInstanceOf(RegistryUnreachable);
  });

  it("gives a token where it asks for one, to whoever may have it", async () => {
    const asked: string[] = [];
    const server = createServer((request, answer) => {
      asked.push(`${request.method ?? ""} ${request.url ?? ""} ${request.headers.authorization ?? ""}`);
      if (request.url?.startsWith("/token") === true) answer.end(JSON.stringify({ token: "abc" }));
      else if (request.headers.authorization === "Bearer abc") answer.writeHead(202).end();
      else answer.writeHead(401, { "www-authenticate": `Bearer realm="http://${String(request.headers.host)}/token",service="s"` }).end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      using one = client(registry, "pw", `127.0.0.1:${String((server.address() as AddressInfo).port)}`);
      expect(await one.removeManifest("berth/web", "sha256:0", never)).toBe("gone");
      const basic = `Basic ${Buffer.from("berth:pw").toString("base64")}`;
      expect(asked[1]).toBe(`GET /token?service=s&scope=repository%3Aberth%2Fweb%3Adelete ${basic}`);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it.each([
    ["well", () => client(registry), "ok", /takes images of berth/],
    ["without rights", () => client(registry, "wrong"), "failed", /lets berth push nothing/],
    ["away", () => client(registry, "x", "127.0.0.1:1"), "failed", /takes no images: /],
  ] as const)("is seen by the doctor: %s", async (_how, open, status, found) => {
    const check = registryCheck(`${registry.host}/berth`, () => Promise.resolve({ client: open(), user: "berth", unreadable: false }));
    expect(await check.look(never)).toMatchObject({ status, found: expect.stringMatching(found) as string });
    expect((await registry.ask("GET", "/v2/_catalog")).status).toBe(200);
  });
});
