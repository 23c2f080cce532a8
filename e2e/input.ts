// What strangers send as sources and Compose files, to a real server: refused with words or taken, in bounded memory, while others are answered,
// and with nothing left behind. Shared by the short and the long test.
import { existsSync, readFileSync, readdirSync, writeFileSync, type Dirent } from "node:fs";
import { request as httpRequest } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { errors } from "@berth/contract/errors.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { claimSize, folderTar, tarball, type Entry } from "../packages/server/src/builders/testing/tarball.ts";
import { TestBerth, until } from "./harness.ts";

export interface Sizes {
  /** Bytes of one file that is taken, and number of files. */
  readonly file: number;
  readonly files: number;
}

const most = { files: 100_000, file: 1024 ** 3 };
/** Bytes by which the server may grow while it takes a source. */
const growth = 120 * 1024 ** 2;

interface Said {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly needs?: { readonly files: readonly string[]; readonly variables: readonly string[] } | undefined;
}

export function describeInput(sizes: Sizes): void {
  let berth: TestBerth;
  beforeAll(async () => {
    berth = await TestBerth.start({ BERTH_GIT_LOOPBACK: "1" });
    await berth.client.createStack({ body: { name: "known" } });
    // What every upload needs for the first time is there then.
    await upload(await folderTar({ a: "a" }));
  }, 180_000);
  afterAll(async () => {
    await berth?.stop();
  }, 180_000);

  function send(path: string, type: string, body: Readable | Buffer, signal?: AbortSignal): Promise<Said> {
    return new Promise((resolve, reject) => {
      const url = new URL(`${berth.url}/api/v1/${path}`);
      const request = httpRequest(
        url,
        {
          method: "POST",
          headers: { authorization: `Bearer ${berth.token}`, "content-type": type },
          ...(signal === undefined ? {} : { signal }),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response
            .on("data", (chunk: Buffer) => chunks.push(chunk))
            .on("end", () => {
              const said = JSON.parse(Buffer.concat(chunks).toString()) as Partial<Said & NonNullable<Said["needs"]>>;
              const { code = "", detail = "", files = [], variables = [] } = said;
              answered = true;
              const needs = files.length + variables.length > 0 ? { needs: { files, variables } } : {};
              resolve({ status: response.statusCode ?? 0, code, detail, ...needs });
            });
        },
      );
      let answered = false;
      // A server that has refused need not read the rest.
      request.on("error", (error) => {
        if (!answered) reject(error);
      });
      if (Buffer.isBuffer(body)) request.end(body);
      else body.pipe(request);
    });
  }
  const upload = (body: Readable | Buffer): Promise<Said> => send("stacks/known/sources/upload", "application/x-tar", body);
  const json = (path: string, body: unknown, signal?: AbortSignal): Promise<Said> =>
    send(path, "application/json", Buffer.from(JSON.stringify(body)), signal);

  /** Everything that a refused source could leave: files, rows, processes. */
  /** Again when something of it is removed at this very moment. */
  function entriesBelow(dir: string): Dirent[] {
    for (;;) {
      try {
        return readdirSync(dir, { recursive: true, withFileTypes: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT" || !existsSync(dir)) throw error;
      }
    }
  }
  async function traces(): Promise<unknown> {
    const files = ["tmp", "blobs"].flatMap((dir) =>
      entriesBelow(join(berth.home, dir))
        .filter((entry) => entry.isFile() || entry.name.startsWith("fetch-"))
        .map((entry) => join(entry.parentPath, entry.name)),
    );
    const children = readFileSync(`/proc/${berth.serverPid()}/task/${berth.serverPid()}/children`, "utf8").trim();
    const { items } = await berth.client.listSources({ params: { stack: "known" }, query: {} });
    const { items: events } = await berth.client.listEvents({ query: { stack: "known", limit: 500 } });
    return { files: files.toSorted(), children, sources: items.length, events: events.length };
  }
  async function expectRefused(work: () => Promise<Said>, status: number, words: RegExp): Promise<void> {
    const before = await traces();
    const said = await work();
    expect({ ...said, known: said.code in errors }, said.detail).toMatchObject({ status, known: true });
    expect(said.detail).toMatch(words);
    await goneAgain(before, "everything of it");
    expect(await traces()).toEqual(before);
  }
  async function goneAgain(before: unknown, what: string): Promise<void> {
    let now = "";
    await until(
      async () => {
        now = JSON.stringify(await traces());
        return now === JSON.stringify(before) || undefined;
      },
      `${what} to be gone`,
      60_000,
      () => `before: ${JSON.stringify(before)}\nnow: ${now}`,
    );
  }

  /** Runs the work while somebody else keeps asking. `grown`: bytes above what the server had before; `waits`: ms of each other request. */
  async function watched<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly grown: number; readonly waits: number[] }> {
    const pid = berth.serverPid();
    const memory = (what: string): number =>
      Number(new RegExp(`^${what}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
    // Sets the highest resident size back to the present one (proc_pid_clear_refs).
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
    const before = memory("VmRSS");
    const waits: number[] = [];
    let over = false;
    const asking = (async () => {
      while (!over) {
        const from = performance.now();
        // A connection of its own: while this program makes an archive, the server would close an idle one.
        expect((await fetch(`${berth.url}/healthz`, { headers: { connection: "close" } })).status).toBe(200);
        waits.push(performance.now() - from);
      }
    })();
    try {
      const result = await work();
      return { result, grown: memory("VmHWM") - before, waits };
    } finally {
      over = true;
      await asking;
      const sorted = waits.toSorted((a, b) => a - b);
      const at = (share: number): string => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
      console.log(
        `others waited p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms; the server grew by ${Math.round((memory("VmHWM") - before) / 1e6)} MB`,
      );
    }
  }
  const longest = (waits: readonly number[]): number => Math.max(...waits);

  describe("an archive", () => {
    const attacks: [string, Entry[], RegExp][] = [
      ["a name with ..", [{ name: "../evil", body: "x" }], /leads out/],
      ["an absolute name", [{ name: "/etc/evil", body: "x" }], /absolute/],
      ["a link out of the tree", [{ name: "x", type: "symlink", linkname: "../../etc" }], /leads out/],
      ["a hard link out of the tree", [{ name: "x", type: "link", linkname: "../shadow" }], /leads out/],
      [
        "a file through a link",
        [
          { name: "x", type: "symlink", linkname: "." },
          { name: "x/y", body: "z" },
        ],
        /not a folder/,
      ],
      ["a device", [{ name: "x", type: "block-device", devmajor: 8, devminor: 0 }], /device/],
      ["a named pipe", [{ name: "x", type: "fifo" }], /pipe/],
      ["a name with NUL", [{ name: "x", body: "1", pax: { path: "a\0b" } }], /NUL/],
    ];
    test.each(attacks)("with %s is refused", async (_what, entries, words) => {
      const body = await tarball([{ name: "ok", body: "fine" }, ...entries]);
      await expectRefused(() => upload(body), 422, words);
    });
    test.each<[string, Buffer, RegExp]>([
      ["nothing", Buffer.alloc(0), /empty/],
      ["a zip file", Buffer.from("PK\u0003\u0004 and so on"), /zip/],
      ["noise", Buffer.alloc(4096, "noise!"), /not a tar/],
      ["half an archive", Buffer.alloc(3000), /.*/],
    ])("that is %s is refused", async (_what, body, words) => {
      await expectRefused(() => upload(body), 422, words);
    });
    test("that says it holds more than may be is refused before it is there", async () => {
      const entry = await tarball([{ name: "big", body: "x" }]);
      claimSize(entry, most.file + 1);
      await expectRefused(() => upload(entry), 422, /larger|more than|bytes/);
    });

    test("that is refused for its first entry is told so although it goes on for long", async () => {
      const head = (await tarball([{ name: "../evil", body: "x" }])).subarray(0, 1024);
      const block = Buffer.alloc(1024 ** 2, "x");
      const long = function* (): Generator<Buffer> {
        yield head;
        for (let sent = 0; sent < 64; sent += 1) yield block;
      };
      await expectRefused(() => upload(Readable.from(long(), { objectMode: false })), 422, /leads out/);
    });

    test("that is a bomb is refused, in bounded memory and while others are answered", { timeout: 600_000 }, async () => {
      const zeros = await folderTar({ zeros: Buffer.alloc(192 * 1024 ** 2) });
      for (const bomb of [gzipSync(zeros), zstdCompressSync(zeros)]) {
        const { grown, waits } = await watched(() => expectRefused(() => upload(bomb), 422, /200 times/));
        expect(grown).toBeLessThan(growth);
        expect(longest(waits)).toBeLessThan(5_000);
      }
    });

    test("with one large file is taken, in bounded memory and while others are answered", { timeout: 600_000 }, async () => {
      const block = Buffer.alloc(1024 ** 2, "some bytes that are not zero ");
      const head = (await tarball([{ name: "big", body: "" }])).subarray(0, 512);
      claimSize(head, sizes.file);
      const body = function* (): Generator<Buffer> {
        yield head;
        for (let left = sizes.file; left > 0; left -= block.length) yield block.subarray(0, left);
        yield Buffer.alloc(1024);
      };
      const { result, grown, waits } = await watched(() => upload(Readable.from(body(), { objectMode: false })));
      expect(result).toMatchObject({ status: 201 });
      expect(grown).toBeLessThan(growth);
      expect(longest(waits)).toBeLessThan(5_000);
    });

    test("with many files is taken, and with too many refused", { timeout: 600_000 }, async () => {
      const many = async (count: number): Promise<Buffer> =>
        gzipSync(await tarball(Array.from({ length: count }, (_, index) => ({ name: `d${index % 100}/file-${index}`, body: "" }))), {
          level: 1,
        });
      const body = await many(sizes.files);
      const { result, waits } = await watched(() => upload(body));
      expect(result).toMatchObject({ status: 201 });
      expect(longest(waits)).toBeLessThan(5_000);
      if (sizes.files + 100 < most.files) return;
      const more = await many(most.files + 1);
      await expectRefused(() => upload(more), 422, /100000 entries/);
    });

    test("whose sender goes away leaves nothing", async () => {
      const before = await traces();
      const gone = new AbortController();
      const endless = new Readable({
        read() {
          setTimeout(() => this.push(Buffer.alloc(64 * 1024, "x")), 5);
        },
      });
      endless.unshift((await tarball([{ name: "ok", body: "fine" }])).subarray(0, 512));
      const sending = send("stacks/known/sources/upload", "application/x-tar", endless, gone.signal).catch((error: unknown) =>
        String(error),
      );
      setTimeout(() => {
        gone.abort();
      }, 300);
      await sending;
      endless.destroy();
      await goneAgain(before, "everything of it");
    });
  });

  describe("a git source", () => {
    test.each([
      ["a URL that is an option", { url: "--upload-pack=touch /tmp/x" }],
      ["a URL that runs a program", { url: "ext::sh -c id" }],
      ["a host that is an option", { url: "ssh://-oProxyCommand=id/x" }],
      ["a scp-like host that is an option", { url: "-oProxyCommand=id:x" }],
      ["a path of this machine", { url: "file:///etc" }],
      ["a metadata address", { url: "http://169.254.169.254/latest/meta-data" }],
      ["a ref that is an option", { url: "https://example.com/x.git", ref: "--upload-pack=id" }],
      ["a ref with ..", { url: "https://example.com/x.git", ref: "a..b" }],
      ["a ref with a NUL", { url: "https://example.com/x.git", ref: "a\0b" }],
    ])("with %s is refused", async (_what, body) => {
      await expectRefused(() => json("stacks/known/sources/git", body), "ref" in body && body.ref.includes("\0") ? 400 : 422, /./);
    });

    test("that never answers ends with its caller, and leaves no process and no file", { timeout: 240_000 }, async () => {
      const before = await traces();
      const silent = createServer((socket) => {
        socket.on("error", () => undefined).resume();
      });
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      try {
        const { port } = silent.address() as { port: number };
        const gone = new AbortController();
        const asking = json("stacks/known/sources/git", { url: `http://127.0.0.1:${port}/x.git` }, gone.signal).then(
          (said) => said.detail,
          (error: unknown) => (error as Error).name,
        );
        await until(
          async () => (JSON.stringify(await traces()) === JSON.stringify(before) ? undefined : true),
          "git to be started",
          60_000,
        );
        gone.abort();
        expect(await asking).toBe("AbortError");
        await goneAgain(before, "git and its folder");
      } finally {
        silent.close();
      }
    });
  });

  describe("a Compose file", () => {
    /** Answers what is asked for as the command line does: there is no other file and no variable. */
    async function plan(text: string): Promise<Said> {
      const files = { "compose.yaml": text };
      let absent: string[] = [];
      let variables: Record<string, null> = {};
      for (let round = 1; ; round += 1) {
        const body = { files, absent, composeFiles: ["compose.yaml"], variables, profiles: [], sources: {} };
        const said = await json("stacks/known/plans", body);
        if (said.needs === undefined || round > 5) return said;
        absent = [...absent, ...said.needs.files];
        variables = { ...variables, ...Object.fromEntries(said.needs.variables.map((name) => [name, null])) };
      }
    }
    const services = (count: number): string =>
      `services:\n${Array.from({ length: count }, (_, index) => `  s${index}:\n    image: nginx\n`).join("")}`;
    const levels = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    const bomb = `x-a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n${levels
      .slice(1)
      .map((name, index) => `x-${name}: &${name} [${Array(10).fill(`*${levels[index]}`).join(", ")}]`)
      .join("\n")}\nservices:\n  web:\n    image: nginx\n    command: *i\n`;
    test.each([
      ["10,000 components", services(10_000)],
      ["a bomb of anchors", bomb],
      ["an anchor that holds itself", "services: &a\n  web: *a\n"],
      [
        "components that wait for each other",
        "services:\n  a:\n    build: .\n    depends_on: [b]\n  b:\n    build: .\n    depends_on: [a]\n",
      ],
      ["components that extend each other", "services:\n  a:\n    extends: b\n  b:\n    extends: a\n"],
      ["a component that extends itself", "services:\n  a:\n    extends: a\n"],
      ["a file that includes itself", "include: [compose.yaml]\nservices:\n  a:\n    build: .\n"],
      ["deep nesting", `services:\n  a:\n    x: ${"[".repeat(20_000)}${"]".repeat(20_000)}\n`],
      ["deep mappings", `a: ${"{a: ".repeat(5_000)}1${"}".repeat(5_000)}\n`],
      ["a key of 1 MB", `services:\n  ${"k".repeat(1024 ** 2)}:\n    build: .\n`],
      ["a value of 1 MB", `services:\n  a:\n    build: .\n    environment:\n      A: ${"v".repeat(1024 ** 2)}\n`],
      ["a variable in a variable, deep", `services:\n  a:\n    image: ${"${A:-".repeat(5_000)}x${"}".repeat(5_000)}\n`],
      ["keys of objects", "services:\n  __proto__:\n    build: .\n  constructor:\n    build: .\n"],
      ["a key twice", "services:\n  a:\n    build: .\n  a:\n    build: .\n"],
      ["no mapping", "- a\n- b\n"],
      ["nothing", ""],
      ["control characters", "services:\n  a:\n    build: \u0007\u001b[31m\n"],
      ["two documents", "services: {}\n---\nservices: {}\n"],
    ])("with %s is refused with words, soon", { timeout: 60_000 }, async (_what, text) => {
      const before = await traces();
      const { result, grown, waits } = await watched(() => plan(text));
      expect({ ...result, known: result.code in errors }).toMatchObject({ known: true });
      expect(result.status, result.detail).toBeGreaterThanOrEqual(400);
      expect(result.status, result.detail).toBeLessThan(500);
      expect(result.detail.length).toBeLessThan(2_000);
      expect(grown).toBeLessThan(3 * growth);
      expect(longest(waits)).toBeLessThan(10_000);
      expect(await traces()).toEqual(before);
    });
  });

  test("and the server has failed at none of it", () => {
    expect(berth.failedRequests()).toEqual([]);
  });
}
