import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockLines } from "../follow/display.ts";
import { rowsOf } from "../follow/model.ts";
import { aBuild, aComponent, aRollout, ended, now } from "../testing/objects.ts";
import { plain } from "../testing/cli.ts";
import { statusLines } from "../view/status.ts";
import { painter } from "./colour.ts";
import { Output } from "./output.ts";
import { table, type Column } from "./table.ts";
import { ago, bytes, clockTime, duration, parseDuration, parseInstant } from "./time.ts";
import { cut, oneLine, safeLine, widthOf, wrapped } from "./width.ts";

const rows = [
  {
    name: "web",
    state: "healthy",
    url: "http://web.guestbook.localhost:8080/",
    reason: "deploy of revision f01ea93f32 by a long committed message",
  },
  { name: "a-component-with-quite-a-long-name", state: "failed", url: "", reason: "up" },
  { name: "日本語の名前", state: "ok", url: "http://x.localhost/", reason: "" },
];
const columns: readonly Column<(typeof rows)[number]>[] = [
  { title: "COMPONENT", of: (row) => row.name, shrink: 1 },
  { title: "STATE", of: (row) => row.state },
  { title: "REASON", of: (row) => row.reason, shrink: 3, drop: 2 },
  { title: "URL", of: (row) => row.url, shrink: 1, drop: 1 },
];

describe("a table", () => {
  it.each([60, 80, 120])("fits %i columns, cutting what may be cut and nothing else", (width) => {
    const lines = table(columns, rows, { width });
    for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(width);
    expect(lines).toMatchSnapshot();
  });

  it("is never cut in a pipe", () => {
    const text = table(columns, rows, { width: undefined }).join("\n");
    for (const row of rows) for (const value of Object.values(row)) expect(text).toContain(value);
  });

  it("fits every width that its fixed columns leave room for, whatever it holds", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            name: fc.string({ unit: fc.constantFrom("a", "-", "é", "e\u0301", "日", "👍🏽", "\t"), maxLength: 60 }),
            state: fc.constantFrom("ok", "failed"),
            url: fc.webUrl(),
            reason: fc.string({ maxLength: 200 }),
          }),
          { maxLength: 8 },
        ),
        fc.integer({ min: 40, max: 200 }),
        (items, width) => {
          for (const line of table(
            columns,
            items.map((item) => ({ ...item, name: oneLine(item.name), reason: oneLine(item.reason) })),
            { width },
          ))
            expect(widthOf(line)).toBeLessThanOrEqual(width);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe("text", () => {
  it("is as wide as a terminal shows it", () => {
    expect([widthOf("abc"), widthOf("é"), widthOf("e\u0301"), widthOf("日本"), widthOf("\x1b[31mred\x1b[0m"), widthOf("👍🏽")]).toEqual([
      3, 1, 1, 4, 3, 2,
    ]);
    expect([cut("日本語", 5), cut("日本語", 4), cut("abc", 3), cut("abcd", 3), cut("x", 0)]).toEqual(["日本…", "日…", "abc", "ab…", ""]);
  });

  it("of programs cannot act on the terminal: colours stay in logs, titles and cursor movements never", () => {
    const nasty = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\rover\x1b[10A\u202eevil";
    expect(safeLine(nasty)).not.toMatch(/\x1b\](?!\[)|\x1b\[2J|\x1b\[10A|\r|\x07/);
    expect(safeLine(nasty)).toContain("\x1b[31mred");
    expect(oneLine(nasty)).toBe("redoverevil");
  });

  it("is wrapped at words", () => {
    expect(wrapped("one two three four", 9, "  ")).toEqual(["  one two", "  three", "  four"]);
  });
});

describe("times and sizes", () => {
  it("read like a person says them", () => {
    const at = (seconds: number): string => new Date(now.getTime() - seconds * 1000).toISOString();
    expect([0, 42, 200, 4000, 100_000, -7200].map((seconds) => ago(at(seconds), now))).toEqual([
      "just now",
      "42s ago",
      "3m ago",
      "1h ago",
      "1d ago",
      "in 2h",
    ]);
    expect([0, 850, 4210, 10_000, 80_000, 7_500_000, 7_200_500, 90_000_000].map(duration)).toEqual([
      "0ms",
      "850ms",
      "4.2s",
      "10s",
      "1m 20s",
      "2h 5m",
      "2h",
      "1d 1h",
    ]);
    expect([undefined, 512, 3500, 5_000_000, 3 * 1024 ** 3].map(bytes)).toEqual(["-", "512 B", "3.4 KiB", "4.8 MiB", "3.0 GiB"]);
    expect(clockTime(new Date(2026, 0, 2, 3, 4, 5))).toBe("03:04:05");
  });

  it("are understood as people type them, and refused when they are not", () => {
    expect(["30", "10m", "1h30m", "500ms", "1.5s", "2d", "", "m", "10x", "-5"].map(parseDuration)).toEqual([
      30_000,
      600_000,
      5_400_000,
      500,
      1500,
      172_800_000,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect([parseInstant("10m", now), parseInstant("2026-02-28T11:00:00Z", now), parseInstant("yesterday", now)]).toEqual([
      "2026-03-01T11:50:00.000Z",
      "2026-02-28T11:00:00.000Z",
      undefined,
    ]);
  });
});

describe("the live block", () => {
  const model = {
    stack: "shop",
    lastLines: new Map([[1, "added 143 packages in 8s, and audited 144 packages in 9s: found 0 vulnerabilities"]]),
    builds: new Map([[1, aBuild()]]),
    rollouts: new Map(
      [
        aRollout({ component: "web", phase: "building", build: 1 }),
        aRollout({ component: "api", ready: 1, wanted: 3 }),
        aRollout({ component: "worker", phase: "waiting", waitsFor: ["api"] }),
        ended({ component: "db" }),
        ended({ component: "cron", phase: "failed" }),
      ].map((rollout) => [rollout.component, rollout]),
    ),
  };

  it.each([60, 80, 120])("has a line per component, none wider than %i columns", (width) => {
    const lines = blockLines(rowsOf(model, now), 3, width, painter(false), 20);
    expect(lines).toMatchSnapshot();
    for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(width);
  });

  it("shows what goes on before what has ended when not all fit", () => {
    const lines = blockLines(rowsOf(model, now), 0, 80, painter(false), 4);
    expect(lines).toHaveLength(4);
    expect(lines.join("\n")).toMatch(/web[^]*api[^]*worker[^]*and 2 more/);
  });
});

describe("status", () => {
  const components = [
    aComponent(),
    aComponent({ name: "nightly", kind: "cron", state: "scheduled", urls: [], nextRunAt: "2026-03-02T03:00:00.000Z" }),
    aComponent({
      name: "api",
      state: "failed",
      ready: 0,
      replicas: 2,
      rollout: { number: 7, phase: "failed" },
      cause: {
        code: "exited_at_start",
        params: { exitCode: 1, after: "80ms", said: "" },
        evidence: [{ kind: "log", text: "Error: no database\x1b[2J" }],
      },
    }),
  ];
  it.each([60, 80, 120])("fits %i columns, with the cause and the next step beneath", (width) => {
    const out = new Output({ stdout: process.stdout, stderr: process.stderr, json: false, quiet: false, colour: false, columns: width });
    const lines = statusLines({ out, now: () => now }, "shop", components);
    expect(lines.map(plain)).toMatchSnapshot();
    for (const line of lines.slice(0, 6)) expect(widthOf(line)).toBeLessThanOrEqual(width);
    expect(lines.join("\n")).toContain("exit code 1");
    expect(lines.join("\n")).toContain("| Error: no database");
  });

  it("names a certificate that ends, with its date and the next step", () => {
    const out = new Output({ stdout: process.stdout, stderr: process.stderr, json: false, quiet: false, colour: false, columns: 120 });
    const params = { host: "shop.test", certificate: "site", until: "2026-03-11T12:00:00.000Z" };
    const said = (code: string, days = ""): string =>
      statusLines({ out, now: () => now }, "shop", [aComponent({ warnings: [{ code, params: { ...params, days } }] })]).join("\n");
    expect(said("https_expires_soon", "10")).toMatch(
      /^web: The certificate site of shop\.test expires in 10 day\(s\), on 2026-03-11\S+\. `berth certificates set site`/m,
    );
    expect(said("https_expired")).toMatch(/^web: shop\.test cannot be reached over HTTPS: its certificate site expired on 2026-03-11/m);
    expect(statusLines({ out, now: () => now }, "shop", [aComponent()]).join("\n")).not.toContain("certificate");
  });
});
