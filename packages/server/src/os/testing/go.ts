// Programs that tests need and no distribution has, compiled from their Go modules: once for each version, kept outside of the checkout, pinned by the module's own sums.
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { withLock } from "../lock.ts";
import { findOnPath } from "../programs.ts";

const run = promisify(execFile);

export interface GoModule {
  /** Of the folder that keeps its programs, with the version. */
  readonly name: string;
  /** As the module's tag has it, without the `v`. */
  readonly version: string;
  readonly path: string;
  /** Program -> its package. */
  readonly programs: Readonly<Record<string, string>>;
  /** Arguments of `go mod edit`: what the module replaces when it is built in its own folder, which a module that requires it does not inherit. */
  readonly edits?: (goMod: string) => readonly string[];
  readonly ldflags?: readonly string[];
}

/** Where everything is kept that tests of this machine make once. */
export function testCache(): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "berth-test");
}

const folderOf = ({ name, version }: GoModule): string => join(testCache(), `${name}-${version}`);

/** Those that still have to be compiled. */
export function uncompiled(module: GoModule): string[] {
  return Object.keys(module.programs).filter((program) => !existsSync(join(folderOf(module), program)));
}

/** Why its programs cannot be had here; undefined when they can. */
export function goModuleMissing(module: GoModule): string | undefined {
  const names = uncompiled(module);
  return names.length === 0 || findGo() !== undefined
    ? undefined
    : `no ${names.join(", ")}, and no go to compile it: https://go.dev/doc/install`;
}

/** The folder of its programs. Takes minutes, and up to 1.5 GB of Go's own caches, the first time; `onProgram` is told each one as it is begun. */
export async function compileModule(module: GoModule, onProgram: (name: string) => void = () => undefined): Promise<string> {
  const folder = folderOf(module);
  await mkdir(folder, { recursive: true });
  await withLock(`${folder}.lock`, undefined, async () => {
    const names = uncompiled(module);
    if (names.length === 0) return;
    const go = findGo();
    if (go === undefined) throw new Error(goModuleMissing(module));
    const work = await mkdtemp(`${folder}.draft-`);
    try {
      // It is compiled from a wrapper, which pins it and all that it requires by their sums. Others work on this machine too.
      const options = { cwd: work, env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod" }, maxBuffer: 64 * 1024 * 1024 };
      const call = (...args: readonly string[]) => run("nice", ["-n", "5", go, ...args], options);
      await call("mod", "init", `berth.test/${module.name}`);
      const edits = module.edits?.(await goModOf(module, call)) ?? [];
      await call("mod", "edit", `-require=${module.path}@v${module.version}`, ...edits);
      for (const name of names) {
        onProgram(name);
        const flags = ["-trimpath", "-ldflags", ["-s", "-w", ...(module.ldflags ?? [])].join(" ")];
        await call("build", ...flags, "-o", name, module.programs[name] ?? module.path);
        await rename(join(work, name), join(folder, name));
      }
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
  return folder;
}

/** The folder of a module's sources in Go's own cache, for the files that it ships beside its programs. */
export async function moduleSources(path: string, version: string): Promise<string> {
  const go = findGo();
  if (go === undefined) throw new Error(`no go to get ${path} with: https://go.dev/doc/install`);
  const { stdout } = await run(go, ["mod", "download", "-json", `${path}@v${version}`], {
    env: { ...process.env, GOFLAGS: "" },
    cwd: testCache(),
  });
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}

async function goModOf({ path, version }: GoModule, call: (...args: readonly string[]) => Promise<{ stdout: string }>): Promise<string> {
  const { stdout } = await call("mod", "download", "-json", `${path}@v${version}`);
  return readFileSync((JSON.parse(stdout) as { GoMod: string }).GoMod, "utf8");
}

/** On the PATH, or where its own installation puts it. */
function findGo(): string | undefined {
  return findOnPath("go", [process.env["PATH"] ?? "", "/usr/local/go/bin"].join(delimiter));
}
