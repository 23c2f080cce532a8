// The store of a component's lines: bounded, in order, and honest about what is gone.
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LogLine } from "../../engines/engine.ts";
import { canMount, smallDisk } from "../../os/testing/smalldisk.ts";
import { readLines, type Query } from "./query.ts";
import { ComponentStore, Stamps } from "./store.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-store-"));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const stamps = new Stamps(Date.now);
const limits = { maxFileBytes: 4096, maxFiles: 4 };

async function read(store: ComponentStore, query: Partial<Query> = {}): Promise<LogLine[]> {
  const found: LogLine[] = [];
  for await (const line of readLines(store, { follow: false, resumed: false, ...query }, () => stamps.last, new AbortController().signal))
    found.push(line);
  return found;
}
const diskBytes = (): number =>
  readdirSync(dir)
    .filter((name) => name.endsWith(".log"))
    .reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);

describe("store", () => {
  it("gives all lines of all instances back in the order of their arrival, also to a later process", async () => {
    const store = new ComponentStore(dir, { maxFileBytes: 1_000_000, maxFiles: 4 }, stamps);
    const expected = Array.from({ length: 3_000 }, (_, index) => `line ${index}`);
    expected.forEach((text, index) => store.append(`web-${"abc"[index % 3]}`, index % 2 === 0 ? "stdout" : "stderr", [text]));
    expect((await read(store)).map((line) => line.text)).toEqual(expected);
    store.close();
    const later = new ComponentStore(dir, { maxFileBytes: 1_000_000, maxFiles: 4 }, new Stamps(() => 0));
    expect((await read(later)).map((line) => line.text)).toEqual(expected);
    expect((await read(later, { tail: 7 })).map((line) => line.text)).toEqual(expected.slice(-7));
    expect((await read(later, { instance: "web-b", tail: 2 })).map((line) => line.text)).toEqual(["line 2995", "line 2998"]);
  });

  it.each([undefined, 5])("passes over no line of several writers while it is read (tail %s)", async (tail) => {
    const store = new ComponentStore(dir, { maxFileBytes: 1_000_000, maxFiles: 4 }, stamps);
    const end = new AbortController();
    const written: string[] = [];
    const write = (): void => {
      for (const instance of ["web-a", "web-b", "web-c"]) {
        written.push(`line ${written.length}`);
        store.append(instance, "stdout", written.slice(-1));
      }
    };
    for (let count = 0; count < 5; count += 1) write();
    const followed: string[] = [];
    const reading = (async () => {
      const query = { follow: true, resumed: false, ...(tail === undefined ? {} : { tail }) };
      for await (const line of readLines(store, query, () => stamps.last, end.signal)) {
        followed.push(line.text);
        if (line.text === "line 5999") return;
      }
    })();
    while (written.length < 6_000) {
      write();
      await new Promise(setImmediate);
    }
    await reading;
    end.abort();
    expect(followed).toEqual(written.slice(written.indexOf(followed[0] ?? "")));
    if (tail === undefined) expect(followed.length).toBe(written.length);
  });

  it("stays within its bound, and tells a reader whose place is gone", async () => {
    const store = new ComponentStore(dir, limits, stamps);
    store.begin("web-a");
    store.append("web-a", "stdout", ["first"]);
    const [first] = await read(store);
    for (let index = 0; index < 2_000; index += 1) store.append("web-a", "stdout", [`line ${index} of a flood`]);
    expect(diskBytes()).toBeLessThanOrEqual(4096 * 4 + 200);
    const after = Number.parseInt(first?.cursor ?? "", 36);
    const resumed = await read(store, { after, resumed: true });
    expect(resumed[0]?.stream).toBe("berth");
    expect(resumed.at(-1)?.text).toBe("line 1999 of a flood");
    expect((await read(store)).every((line) => line.stream !== "berth")).toBe(true);
    expect(
      (await read(store, { after: Number.parseInt(resumed.at(-3)?.cursor ?? "", 36), resumed: true })).map((line) => line.text),
    ).toEqual(["line 1998 of a flood", "line 1999 of a flood"]);
  });

  it("lets a flood of one instance cost no line of another", async () => {
    const store = new ComponentStore(dir, limits, stamps);
    for (const instance of ["web-quiet", "web-loud"]) store.begin(instance);
    store.append("web-quiet", "stdout", ["I am here"]);
    for (let index = 0; index < 3_000; index += 1) store.append("web-loud", "stdout", [`noise ${index}`]);
    expect((await read(store, { instance: "web-quiet" })).map((line) => line.text)).toEqual(["I am here"]);
    expect(diskBytes()).toBeLessThanOrEqual(4096 * 4 + 200);
  });

  it("gives room from instances that are gone before it takes from one that lives", async () => {
    const store = new ComponentStore(dir, limits, stamps);
    for (let index = 0; index < 100; index += 1) {
      store.begin(`web-${index}`);
      store.append(`web-${index}`, "stdout", ["x".repeat(300)]);
      store.end(`web-${index}`);
    }
    store.begin("web-live");
    for (let index = 0; index < 100; index += 1) store.append("web-live", "stdout", [`live ${index}`]);
    expect((await read(store, { instance: "web-live" })).length).toBe(100);
  });

  it("follows: a line is there as soon as it is written", async () => {
    const store = new ComponentStore(dir, limits, stamps);
    const end = new AbortController();
    const lines = readLines(store, { follow: true, resumed: false }, () => stamps.last, end.signal);
    const next = lines.next();
    store.append("web-a", "stdout", ["hello"]);
    expect((await next).value?.text).toBe("hello");
    end.abort();
    expect((await lines.next()).done).toBe(true);
  });

  it.skipIf(!canMount)("on a full disk loses what nobody can keep, says how much once it can, and cuts no line in half", async () => {
    const disk = join(dir, "disk");
    using _disk = smallDisk(disk, "256k");
    const troubles: unknown[] = [];
    const store = new ComponentStore(join(disk, "logs"), { maxFileBytes: 1_000_000, maxFiles: 4 }, stamps, (error) => troubles.push(error));
    store.appendOrLose("web-a", "stdout", ["before"]);
    writeFileSync(join(disk, "filler"), Buffer.alloc(220 * 1024));
    const flood = Array.from({ length: 20 }, (_line, index) => `${String(index)} ${"x".repeat(8_000)}`);
    for (const line of flood) store.appendOrLose("web-a", "stdout", [line]);
    expect(() => store.append("web-b", "stdout", ["y".repeat(60_000)])).toThrow(/no space left/);
    expect(troubles).toHaveLength(1);
    rmSync(join(disk, "filler"));
    store.appendOrLose("web-a", "stdout", ["after"]);
    store.append("web-b", "stdout", ["it has room now"]);
    const seen = await read(store, { instance: "web-a" });
    const kept = seen.filter((line) => line.text.endsWith("x")).length;
    expect(kept).toBeLessThan(flood.length);
    expect(seen.map(({ stream, text }) => [stream, text])).toEqual([
      ["stdout", "before"],
      ...flood.slice(0, kept).map((line) => ["stdout", line]),
      ["berth", expect.stringMatching(new RegExp(`^${String(flood.length - kept)} lines are missing here: .*no space left`)) as string],
      ["stdout", "after"],
    ]);
    expect((await read(store, { instance: "web-b" })).map(({ text }) => text)).toEqual(["it has room now"]);
    store.close();
  });
});
