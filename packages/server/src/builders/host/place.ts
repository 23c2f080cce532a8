// The folders of builds and caches: who may enter them, and how they go away again. As root each build and cache belongs to its stack's build user.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdir, readFile, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { RunAs } from "../builder.ts";
import type { LastingIdentity } from "../../os/process.ts";

export interface BuildPlace {
  readonly dir: string;
  /** The unpacked source. */
  readonly workDir: string;
  readonly homeDir: string;
  readonly tmpDir: string;
  /** Berth's own: who leads the build's sessions. */
  readonly notesDir: string;
  readonly stagingDir: string;
}

export function buildPlace(home: string, id: string): BuildPlace {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/.test(id)) throw new TypeError(`${id} is not the id of a build`);
  const dir = join(home, "builds", id);
  return {
    dir,
    workDir: join(dir, "src"),
    homeDir: join(dir, "home"),
    tmpDir: join(dir, "tmp"),
    notesDir: join(dir, "berth"),
    stagingDir: join(dir, "berth", "staging"),
  };
}

/** Makes the folders anew. Other users may pass the outer ones as root, and see nothing of them. */
export async function makePlace(place: BuildPlace, runAs: RunAs | undefined): Promise<void> {
  const passable = runAs === undefined ? 0o700 : 0o711;
  await mkdir(join(place.dir, ".."), { recursive: true, mode: passable });
  await mkdir(place.dir, { mode: passable });
  for (const dir of [place.notesDir, place.stagingDir]) await mkdir(dir, { mode: 0o700 });
  for (const dir of [place.workDir, place.homeDir, place.tmpDir]) await makeOwned(dir, runAs);
}

async function makeOwned(dir: string, runAs: RunAs | undefined): Promise<void> {
  await mkdir(dir, { mode: 0o700 });
  if (runAs !== undefined) await chown(dir, runAs.uid, runAs.gid);
}

/** Removes the build's folder. What the build wrote is removed with the build's own rights, so that a link in it leads to nothing more. Absent = success. */
export async function removePlace(place: BuildPlace, runAs: RunAs | undefined): Promise<void> {
  await emptyAs(runAs, [place.workDir, place.homeDir, place.tmpDir, place.stagingDir]);
  await rm(place.dir, { recursive: true, force: true, maxRetries: 3 });
}

/** A folder without write permission (Go's module cache) needs it back before it can be emptied. */
async function emptyAs(runAs: RunAs | undefined, dirs: readonly string[]): Promise<void> {
  const script = 'rm -rf -- "$@" 2>/dev/null && exit 0; chmod -R u+rwX -- "$@" 2>/dev/null; rm -rf -- "$@" 2>/dev/null; exit 0';
  const child = spawn("/bin/sh", ["-c", script, "sh", ...dirs], {
    cwd: "/",
    env: { PATH: "/usr/bin:/bin" },
    stdio: "ignore",
    ...(runAs === undefined ? {} : { uid: runAs.uid, gid: runAs.gid }),
  });
  await once(child, "exit");
}

/** The sessions that a build had, from the notes on disk; a note that was cut short by a crash is passed over (its processes have the mark). */
export async function readLeaders(place: BuildPlace): Promise<LastingIdentity[]> {
  const names = await readdir(place.notesDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const leaders: LastingIdentity[] = [];
  for (const name of names.filter((one) => one.startsWith("leader-"))) {
    const found = parseLeader(await readFile(join(place.notesDir, name), "utf8"));
    if (found !== undefined) leaders.push(found);
  }
  return leaders;
}

function parseLeader(text: string): LastingIdentity | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("pid" in value) || !("start" in value) || !("boot" in value)) return undefined;
    const { pid, start, boot } = value;
    return typeof pid === "number" && typeof start === "string" && typeof boot === "string" ? { pid, start, boot } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A stack's cache folders, by name. One that belongs to another user, because the stack's changed, is made anew. */
export async function makeCaches(
  home: string,
  stackId: string,
  names: readonly string[],
  runAs: RunAs | undefined,
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  if (names.length === 0) return found;
  const top = stackCaches(home, stackId);
  await mkdir(join(top, "tools"), { recursive: true, mode: runAs === undefined ? 0o700 : 0o711 });
  for (const name of names) {
    if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(name)) throw new TypeError(`${name} is not the name of a cache`);
    const dir = join(top, "tools", name);
    const there = await stat(dir).catch(() => undefined);
    if (there !== undefined && runAs !== undefined && there.uid !== runAs.uid) {
      await emptyAs({ uid: there.uid, gid: there.gid }, [dir]);
      await rm(dir, { recursive: true, force: true });
    }
    if (there === undefined || (runAs !== undefined && there.uid !== runAs.uid))
      await makeOwned(dir, runAs).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      });
    found.set(name, dir);
  }
  return found;
}

export function stackCaches(home: string, stackId: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/.test(stackId)) throw new TypeError(`${stackId} is not the id of a stack`);
  return join(home, "caches", stackId);
}

/** Removes everything that is kept for a stack's builds: after the stack itself is gone. Absent = success. */
export async function removeCaches(home: string, stackId: string): Promise<void> {
  const top = stackCaches(home, stackId);
  for (const name of await readdir(join(top, "tools")).catch(() => [])) {
    const dir = join(top, "tools", name);
    const owner = await stat(dir).catch(() => undefined);
    // Emptied as the user that filled it, who may have put links in it.
    if (owner !== undefined) await emptyAs(owner.uid === process.getuid?.() ? undefined : { uid: owner.uid, gid: owner.gid }, [dir]);
  }
  await rm(top, { recursive: true, force: true, maxRetries: 3 });
}
