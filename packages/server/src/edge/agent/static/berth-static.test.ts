// The static file server as a process: what it serves, and what it never serves.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request, type IncomingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const script = fileURLToPath(new URL("./berth-static.ts", import.meta.url));
let dir = "";
const started: ChildProcess[] = [];

async function serve(...args: string[]): Promise<number> {
  const child = spawn(process.execPath, [script, join(dir, "site"), "--port", "0", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  started.push(child);
  let said = "";
  for await (const chunk of child.stdout) {
    said += String(chunk);
    const port = /:(\d+)\n/.exec(said)?.[1];
    if (port !== undefined) return Number(port);
  }
  throw new Error("it ended");
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
function get(port: number, path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const ask = request({ host: "127.0.0.1", port, path, headers, method, agent: false }, (response) => {
      let body = "";
      response
        .setEncoding("utf8")
        .on("data", (text: string) => {
          body += text;
        })
        .on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    ask.once("error", reject);
    ask.end();
  });
}

let plain = 0;
let spa = 0;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "berth-static-"));
  const site = join(dir, "site");
  for (const folder of ["docs", "assets", ".git", ".well-known"]) mkdirSync(join(site, folder), { recursive: true });
  const files = {
    "index.html": "<h1>home",
    "about.html": "about",
    "docs/index.html": "docs",
    "a b.txt": "spaced",
    "assets/app-3f2a9c1b.js": "1",
    ".env": "SECRET",
    ".git/config": "SECRET",
    ".well-known/x": "known",
    "404.html": "nothing here",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(site, name), text);
  writeFileSync(join(dir, "outside.txt"), "SECRET");
  symlinkSync("../outside.txt", join(site, "link.txt"));
  symlinkSync("/etc", join(site, "etc"));
  [plain, spa] = await Promise.all([serve(), serve("--spa")]);
});
afterAll(async () => {
  await Promise.all(
    started.map(async (child) => {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    }),
  );
  rmSync(dir, { recursive: true });
});

describe("berth-static", () => {
  it("serves files, folders' indexes and pages without their suffix", async () => {
    expect(await get(plain, "/")).toMatchObject({ status: 200, body: "<h1>home", headers: { "content-type": "text/html; charset=utf-8" } });
    expect((await get(plain, "/about")).body).toBe("about");
    expect((await get(plain, "/a%20b.txt?x=1")).body).toBe("spaced");
    expect(await get(plain, "/docs?q=1")).toMatchObject({ status: 308, headers: { location: "/docs/?q=1" } });
    expect((await get(plain, "/docs/")).body).toBe("docs");
    expect((await get(plain, "/.well-known/x")).body).toBe("known");
    expect(await get(plain, "/", {}, "HEAD")).toMatchObject({ status: 200, body: "", headers: { "content-length": "8" } });
    expect((await get(plain, "/", {}, "POST")).status).toBe(405);
  });

  it("lets caches keep what cannot change, and asks again by ETag for the rest", async () => {
    const first = await get(plain, "/");
    expect(first.headers["cache-control"]).toBe("no-cache");
    expect((await get(plain, "/", { "if-none-match": String(first.headers.etag) })).status).toBe(304);
    expect((await get(plain, "/assets/app-3f2a9c1b.js")).headers["cache-control"]).toContain("immutable");
    expect(await get(plain, "/", { range: "bytes=1-2" })).toMatchObject({
      status: 206,
      body: "h1",
      headers: { "content-range": "bytes 1-2/8" },
    });
    expect((await get(plain, "/", { range: "bytes=99-" })).status).toBe(416);
  });

  it("never leaves its folder nor shows hidden names", async () => {
    for (const path of [
      "/../outside.txt",
      "/%2e%2e/outside.txt",
      "/..%2foutside.txt",
      "/docs/../../outside.txt",
      "/link.txt",
      "/etc/passwd",
      "/.env",
      "/.git/config",
      "/%2eenv",
      "/a%00b",
      "/%zz",
      "/\\..\\outside.txt",
    ]) {
      const answer = await get(plain, path);
      expect([308, 404], path).toContain(answer.status);
      expect(answer.body, path).not.toMatch(/SECRET|root:/);
    }
    expect((await get(plain, "//evil.example/docs")).headers.location ?? "").not.toMatch(/^\/\//);
  });

  it("answers unknown paths with the 404 page, or with the application when it is one", async () => {
    expect(await get(plain, "/nope")).toMatchObject({ status: 404, body: "nothing here" });
    expect(await get(spa, "/users/7")).toMatchObject({ status: 200, body: "<h1>home" });
    expect((await get(spa, "/missing.js")).status).toBe(404);
  });
});
