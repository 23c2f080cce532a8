// `berth images` on the command line, where nothing can be made: what it says, and how programs are told.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 300_000 });

const built = join(import.meta.dirname, "..", "..", "..", "..", "..", "dist", "server.js");
/** The built server where there is one that is meant to be tested, else the sources. */
const program = process.env["BERTH_TEST_BUILT"] === "1" && existsSync(built) ? built : join(import.meta.dirname, "..", "..", "main.ts");
let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "berth-images-"));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

function images(
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const surroundings = { PATH: process.env["PATH"], HOME: home, BERTH_HOME: home, ...env };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, "images", ...args], { env: surroundings, timeout: 120_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out, err });
    });
  });
}
const codeIn = (out: string): string => (JSON.parse(out) as { readonly error: { readonly code: string } }).error.code;

describe("base images on the command line", () => {
  it("are listed without a daemon while none was made here: config.json's, and the makers'", async () => {
    writeFileSync(join(home, "config.json"), JSON.stringify({ images: { os: "registry.example/debian:12" } }));
    const { items } = JSON.parse((await images({}, "list", "--json")).out) as { readonly items: readonly Record<string, unknown>[] };
    expect(items[0]).toMatchObject({ name: "os", build: "registry.example/debian:12", from: "config.json", behind: [] });
    expect(items.find(({ name }) => name === "go")).toMatchObject({ from: "its makers", run: "registry.example/debian:12" });
    expect((await images({}, "list")).out).toMatch(/^RUNTIME +VERSION +FROM/);
  });

  it("are refused where instances are processes, and where no daemon answers, with a code and what to do", async () => {
    const local = await images({}, "build", "--json");
    expect(local).toMatchObject({ code: 1, err: expect.stringMatching(/^Error: This installation runs processes.*\nNext: /s) as string });
    expect(codeIn(local.out)).toBe("images_need_docker");
    const away = await images({ BERTH_ENGINE: "docker", BERTH_DOCKER_HOST: `unix://${home}/none.sock` }, "build", "node", "--json");
    expect(away).toMatchObject({ code: 1, err: expect.stringContaining("BERTH_DOCKER_HOST=") as string });
    expect(codeIn(away.out)).toBe("docker_unreachable");
  });

  it("say what they do not know, and change nothing", async () => {
    expect(codeIn((await images({}, "build", "cobol", "--json")).out)).toBe("base_unknown");
    for (const wrong of [[], ["make"], ["list", "node"], ["build", "--sources", "x"], ["build", "--nonsense"]])
      expect(await images({}, ...wrong), wrong.join(" ")).toMatchObject({
        code: 2,
        err: expect.stringContaining("Usage: berth images") as string,
      });
    expect(await images({}, "--help")).toMatchObject({ code: 0, out: expect.stringContaining("berth images") as string });
  });

  it("name the file that cannot be read, and how to go on without it", async () => {
    mkdirSync(join(home, "images"));
    writeFileSync(join(home, "images", "bases.json"), '{"format": 1, "bases": [{"name": 1}]}');
    const damaged = await images({}, "list", "--json");
    expect(codeIn(damaged.out)).toBe("base_record_damaged");
    expect(damaged.err).toContain("bases.json");
  });
});
