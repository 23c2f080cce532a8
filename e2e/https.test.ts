// HTTPS as a person meets it: give a certificate, and the addresses that Berth shows are https ones that answer; take it away, and they are not.
import { readFileSync, statSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testCertificate } from "../packages/server/src/edge/testing/certificates.ts";
import { TestBerth, until, webApp } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start({ BERTH_HTTPS_PORT: "0" });
}, 180_000);
afterAll(() => berth?.stop(), 120_000);

const host = "shop.example.org";
const project = {
  ...webApp("one"),
  "compose.yaml": `services:\n  web:\n    build: .\n    x-berth:\n      kind: web\n      domains: [{ host: ${host}, https: redirect }]\n`,
};
const urls = async (): Promise<string[]> => (await berth.client.showComponent({ params: { stack: "shop", component: "web" } })).urls;
const named = { params: { certificate: "shop" } };

/** Through the router's HTTPS door, with the certificate checked as a browser would. */
function get(url: string, ca: string): Promise<{ readonly status: number; readonly body: string }> {
  const { hostname, port, pathname } = new URL(url);
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, path: pathname, servername: hostname, headers: { host: hostname }, ca, agent: false }, (answer) => {
      let body = "";
      answer.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      answer.on("end", () => {
        resolve({ status: answer.statusCode ?? 0, body });
      });
    })
      .on("error", reject)
      .end();
  });
}

test("a certificate that is given serves its hosts over HTTPS, verifies rollouts there, and is never shown with its key", async () => {
  await berth.deployed("shop", project);
  expect(await urls()).toContain(`http://${host}:${String(berth.router.port)}/`);
  expect((await berth.get(host)).status).toBe(200);

  const authority = testCertificate({ subject: "Test authority", isAuthority: true });
  const leaf = testCertificate({ hosts: [host], issuer: authority });
  const made = await berth.client.setCertificate({ ...named, body: { chain: leaf.certificate + authority.certificate, key: leaf.key } });
  expect(made).toMatchObject({ name: "shop", subject: `CN=${host}`, hosts: [host], isDefault: false, warnings: [] });
  const [url = ""] = await until(async () => {
    const secure = (await urls()).filter((one) => one.startsWith("https://"));
    return secure.length > 0 ? secure : undefined;
  }, "an https address");
  expect(url).toMatch(new RegExp(`^https://${host}:\\d+/$`));
  expect(await get(url, authority.certificate)).toMatchObject({ status: 200, body: expect.stringContaining("one") as string });
  expect(await berth.get(host, "/a?b")).toMatchObject({ status: 308, headers: { location: `${url}a?b` } });
  // The stack's own name is not covered, and stays as it was.
  expect((await berth.get("web.shop.localhost")).status).toBe(200);

  // A rollout is verified at the door that users go through.
  const [rollout] = await berth.deployed("shop", { ...project, ...webApp("two") });
  expect(JSON.stringify(rollout)).toContain(url);
  expect((await get(url, authority.certificate)).body).toContain("two");

  const { items } = await berth.client.listCertificates({ query: {} });
  expect(items).toHaveLength(1);
  const line = leaf.key.split("\n")[1] ?? "";
  expect(JSON.stringify(items)).not.toContain(line);
  expect(berth.log()).not.toContain(line);
  expect(readFileSync(join(berth.home, "logs", "edge.log"), "utf8")).not.toContain(line);
  expect(statSync(join(berth.home, "edge", "certificates.json")).mode & 0o777).toBe(0o600);
  const doctor = (await berth.client.runDoctor()).checks.find(({ name }) => name === "https");
  expect(doctor).toMatchObject({ status: "ok", found: expect.stringContaining("the first to end is shop") as string });

  // One that ends within 30 days is spoken of where people look at what it serves.
  const short = testCertificate({ hosts: [host], issuer: authority, notAfter: new Date(Date.now() + 10.5 * 86_400_000) });
  await berth.client.setCertificate({ ...named, body: { chain: short.certificate + authority.certificate, key: short.key } });
  expect((await berth.cli(["status", "-s", "shop"])).said).toMatch(
    new RegExp(`The certificate shop of ${host} expires in 10 day\\(s\\), on \\S+ .berth certificates set shop.`),
  );

  await expect(berth.client.setCertificate({ ...named, body: { chain: leaf.certificate, key: authority.key } })).rejects.toMatchObject({
    code: "certificate_refused",
  });
  await berth.client.deleteCertificate(named);
  await until(async () => ((await urls()).every((one) => one.startsWith("http://")) ? true : undefined), "plain addresses again");
  await until(async () => ((await berth.get(host)).status === 200 ? true : undefined), "plain requests to be answered again");
  await expect(berth.client.deleteCertificate(named)).rejects.toMatchObject({ code: "not_found" });
}, 240_000);
