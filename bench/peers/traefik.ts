// Traefik as a peer for benchmarks: compiled from its Go module into a cache outside the checkout, one folder per version, when Go is there.
// `node bench/peers/traefik.ts` compiles it (minutes, once) and prints the program's path. Benchmarks only use what is there: they never compile.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

export const traefikVersion = "3.6.12";

/** What Traefik's own go.mod replaces or excludes; Go does not take these over from a module that is required. */
const requirements = [
  ["-require", `github.com/traefik/traefik/v3@v${traefikVersion}`],
  ["-replace", "github.com/abbot/go-http-auth=github.com/containous/go-http-auth@v0.4.1-0.20200324110947-a37a7636d23e"],
  ["-replace", "github.com/gorilla/mux=github.com/containous/mux@v0.0.0-20250523120546-41b6ec3aed59"],
  ["-replace", "github.com/mailgun/minheap=github.com/containous/minheap@v0.0.0-20190809180810-6e71eb837595"],
  ["-exclude", "github.com/tencentcloud/tencentcloud-sdk-go@v3.0.83+incompatible"],
] as const;

function program(): string {
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return join(cache, "berth", "peers", `traefik-${traefikVersion}`, "traefik");
}

/** The compiled program; undefined when nobody compiled it on this machine. */
export function installedTraefik(): string | undefined {
  return existsSync(program()) ? program() : undefined;
}

/** Compiles it. The program appears at its place whole, or not at all. Throws when Go is missing or fails. */
export function compileTraefik(): string {
  const target = program();
  const folder = mkdtempSync(join(tmpdir(), "berth-traefik-"));
  const go = (...args: string[]): void => {
    // One package at a time: a benchmark's peer must not take the machine from everything else.
    const { status, error } = spawnSync("go", args, {
      cwd: folder,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-p=1" },
    });
    if (error !== undefined) throw new Error(`Go is needed to compile Traefik: ${error.message}`);
    if (status !== 0) throw new Error(`go ${args[0] ?? ""} failed`);
  };
  try {
    go("mod", "init", "berth.invalid/peer");
    go("mod", "edit", ...requirements.flat());
    go("build", "-mod=mod", "-trimpath", "-ldflags", "-s -w", "-o", join(folder, "traefik"), "github.com/traefik/traefik/v3/cmd/traefik");
    mkdirSync(join(target, ".."), { recursive: true });
    const { status } = spawnSync("cp", [join(folder, "traefik"), `${target}.new`]);
    if (status !== 0) throw new Error(`cannot write ${target}`);
    renameSync(`${target}.new`, target);
    return target;
  } finally {
    // Go makes its folders read-only only in its module cache, which is not here.
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) process.stdout.write(`${installedTraefik() ?? compileTraefik()}\n`);
