// Lines that come out as they went in, and a file that may go away.
import { mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessLog, accessLine, originText, type AccessRecord } from "./accesslog.ts";

const plain: AccessRecord = {
  at: 0,
  requestId: "abcdefgh",
  remote: "127.0.0.1",
  host: "a.localhost",
  method: "GET",
  path: "/",
  status: 200,
  bytesIn: 0,
  bytesOut: 5,
  milliseconds: 1.23456,
  origin: originText({ stack: "s", component: "web" }, "stable", { instance: "i1", releaseHash: "sha256:a" }),
  retried: 0,
  interrupted: false,
  protocol: "",
  code: "",
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-accesslog-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lines = async (file: string): Promise<AccessRecord[]> =>
  (await readFile(file, "utf8"))
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as AccessRecord);

describe("a line", () => {
  it("is JSON whatever a client sent", () => {
    const odd = { ...plain, path: Buffer.from('/中文😀"\\\u0001\u007f').toString("latin1"), host: "\xff\xfe" };
    const line = accessLine(odd);
    expect(line).toMatch(/^[\x20-\x7e]*\n$/);
    expect(JSON.parse(line)).toMatchObject({
      path: '/中文😀"\\\u0001\u007f',
      host: "\ufffd\ufffd",
      durationMs: 1.235,
      stack: "s",
      component: "web",
      track: "stable",
      instance: "i1",
      release: "sha256:a",
    });
  });
});

describe("the file", () => {
  it("has every line, in order, once it is closed", async () => {
    const file = join(folder, "all", "access.log");
    const log = new AccessLog(file);
    for (let index = 0; index < 3_000; index += 1) log.write({ ...plain, path: `/${String(index)}` });
    await log.close();
    expect((await lines(file)).map(({ path }) => path)).toEqual(Array.from({ length: 3_000 }, (_, index) => `/${String(index)}`));
    expect(log.dropped).toBe(0);
  });

  it("can be moved away: what comes later is in a new one, and nothing is lost", async () => {
    const file = join(folder, "access.log");
    const log = new AccessLog(file);
    for (let index = 0; index < 1_000; index += 1) log.write({ ...plain, path: `/${String(index)}` });
    await rename(file, `${file}.1`);
    log.reopen();
    for (let index = 1_000; index < 1_100; index += 1) log.write({ ...plain, path: `/${String(index)}` });
    await log.close();
    const [old, now] = [await lines(`${file}.1`), await lines(file)];
    expect([...old, ...now].map(({ path }) => path)).toEqual(Array.from({ length: 1_100 }, (_, index) => `/${String(index)}`));
    expect(now.length).toBeGreaterThanOrEqual(100);
  });

  it("that takes nothing costs lines, which are counted, never requests", async () => {
    const log = new AccessLog("/dev/full");
    for (let index = 0; index < 10; index += 1) log.write(plain);
    await log.close();
    expect(log.dropped).toBe(10);
  });
});
