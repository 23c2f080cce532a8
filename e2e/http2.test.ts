// HTTP/2 as people meet it: pages in it, gRPC with a real client and a real service, and releases that change while both are asked, without a request lost.
import type { ClientHttp2Session } from "node:http2";
import { once } from "node:events";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testCertificate } from "../packages/server/src/edge/testing/certificates.ts";
import { callOnce, grpcClient, type GrpcClient } from "../packages/server/src/edge/testing/grpc.ts";
import { ask, h2Client } from "../packages/server/src/edge/testing/h2.ts";
import { grpcService } from "./grpc-service.ts";
import { TestBerth, until, webApp, type Contents } from "./harness.ts";

const page = "web.shop.localhost";
const rpc = "rpc.shop.localhost";
const authority = testCertificate({ subject: "Test authority", isAuthority: true });
let berth: TestBerth;
let port = 0;

beforeAll(async () => {
  berth = await TestBerth.start({ BERTH_HTTPS_PORT: "0" });
  const leaf = testCertificate({ hosts: [page, rpc], issuer: authority });
  await berth.client.setCertificate({
    params: { certificate: "shop" },
    body: { chain: leaf.certificate + authority.certificate, key: leaf.key },
  });
}, 180_000);
afterAll(() => berth?.stop(), 120_000);

async function deploy(version: string): Promise<void> {
  const compose = `services:
  web:
    build: ./web
    x-berth: { kind: web }
  rpc:
    build: ./rpc
    x-berth: { kind: web }
    ports: [{ target: 50051, app_protocol: grpc }]
    deploy: { replicas: 2 }
`;
  const contexts: Record<string, Contents> = { web: webApp(version), rpc: await grpcService(version) };
  await berth.deployed("shop", { "compose.yaml": compose }, contexts);
}
async function securePort(): Promise<number> {
  const url = await until(async () => {
    const { urls } = await berth.client.showComponent({ params: { stack: "shop", component: "rpc" } });
    return urls.find((one) => one.startsWith("https://"));
  }, "an https address");
  return Number(new URL(url).port);
}

test("pages are served in HTTP/2, and gRPC of every kind in TLS and without", async () => {
  await deploy("one");
  port = await securePort();
  const session = await h2Client(port, page);
  const answer = await ask(session, { ":path": "/" });
  expect([answer.status, answer.body.toString()]).toEqual([200, expect.stringMatching(/^one /)]);
  session.destroy();

  const clients = [grpcClient(port, rpc, authority.certificate), grpcClient(berth.router.port, rpc)];
  for (const client of clients) {
    const { answer: echoed, head, trailer } = await callOnce(client, Buffer.from("hello"));
    expect([echoed.toString(), head.get("instance"), trailer?.get("trailing")]).toEqual(["hello", ["one"], ["yes"]]);
    let received = 0;
    for await (const message of client.count(Buffer.from("100"), new Metadata())) received += (message as Buffer).length;
    expect(received).toBe(100 * 16 * 1024);
    const chat = client.chat(new Metadata());
    chat.write(Buffer.from("there"));
    const [back] = (await once(chat, "data")) as [Buffer];
    expect(back.toString()).toBe("there");
    chat.end();
    await once(chat, "end");
    client.close();
  }
  const nobody = grpcClient(berth.router.port, "nobody.shop.localhost");
  await expect(callOnce(nobody, Buffer.from("x"))).rejects.toMatchObject({
    code: 12,
    details: expect.stringContaining("No component has this host") as string,
  });
  nobody.close();
}, 240_000);

test("no request and no call is lost while releases change", async () => {
  let stopped = false;
  const failed: string[] = [];
  const seen = { page: new Map<string, number>(), rpc: new Map<string, number>() };
  const count = (map: Map<string, number>, version: string): void => void map.set(version, (map.get(version) ?? 0) + 1);
  const pages = async (session: ClientHttp2Session): Promise<void> => {
    while (!stopped)
      await ask(session, { ":path": "/" }).then(
        ({ status, body }) => {
          if (status === 200) count(seen.page, body.toString().split(" ")[0] ?? "");
          else failed.push(String(status));
        },
        (error: Error) => failed.push(error.message),
      );
  };
  const calls = async (client: GrpcClient): Promise<void> => {
    while (!stopped)
      await callOnce(client, Buffer.from("x"), { wait: "5" }).then(
        ({ head }) => {
          count(seen.rpc, String(head.get("instance")[0]));
        },
        (error: ServiceError) => failed.push(error.message),
      );
    client.close();
  };
  const sessions = [await h2Client(port, page), await h2Client(port, page)];
  const clients = Array.from({ length: 4 }, () => grpcClient(port, rpc, authority.certificate));
  const working = [...sessions.flatMap((session) => [pages(session), pages(session)]), ...clients.map(calls)];
  try {
    // The release that is there is seen by all before the first change.
    for (const version of ["one", "two", "three"]) {
      if (version !== "one") await deploy(version);
      await until(
        async () => ((seen.page.get(version) ?? 0) > 20 && (seen.rpc.get(version) ?? 0) > 20 ? true : undefined),
        `answers of ${version}`,
      );
    }
  } finally {
    stopped = true;
    await Promise.all(working);
    for (const session of sessions) session.destroy();
  }
  console.log(
    `HTTP/2 while releases changed: ${JSON.stringify({ page: Object.fromEntries(seen.page), rpc: Object.fromEntries(seen.rpc), failed: failed.length })}`,
  );
  expect(failed).toEqual([]);
  for (const map of [seen.page, seen.rpc]) expect([...map.keys()]).toEqual(["one", "two", "three"]);
}, 300_000);
