// A stack's own folders and its own user on this machine. A uid is given once and never to another stack, since files outlive stacks.
import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { readJson, writeJson } from "./files.ts";
import type { User } from "../../sandbox/bubblewrap.ts";

const Uids = Type.Object({ next: Type.Integer(), stacks: Type.Record(Type.String(), Type.Integer()) });

export interface StackFolders {
  readonly dir: string;
  readonly home: string;
  readonly tmp: string;
  readonly volumes: string;
  readonly releases: string;
  readonly user?: User;
}

/** A volume was made here, and its folder is not there any more. */
export class VolumeGone extends Error {
  readonly volume: string;
  readonly folder: string;
  constructor(volume: string, folder: string) {
    super(`${folder} is gone`);
    this.name = "VolumeGone";
    this.volume = volume;
    this.folder = folder;
  }
}

export class Stacks {
  readonly #home: string;
  readonly #firstUid: number | undefined;

  /** `firstUid` undefined: every stack runs as Berth's own user. */
  constructor(home: string, firstUid: number | undefined) {
    this.#home = home;
    this.#firstUid = firstUid;
    const mode = firstUid === undefined ? 0o700 : 0o711;
    for (const folder of [home, join(home, "stacks")]) {
      mkdirSync(folder, { recursive: true });
      chmodSync(folder, mode);
    }
  }

  /** Makes what is missing and returns it. Only the stack's user (and Berth) can pass into the folder. */
  open(stackId: string): StackFolders {
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(stackId)) throw new RangeError(`${stackId} is not a stack's id`);
    const user = this.#userOf(stackId);
    const dir = join(this.#home, "stacks", stackId);
    const folders = { dir, home: join(dir, "home"), tmp: join(dir, "tmp"), volumes: join(dir, "volumes"), releases: join(dir, "releases") };
    mkdirSync(dir, { recursive: true });
    // The stack's user passes through but makes nothing here: its folders cannot be replaced by links.
    if (user !== undefined) chownSync(dir, 0, user.gid);
    chmodSync(dir, user === undefined ? 0o700 : 0o710);
    for (const path of [folders.home, folders.tmp, folders.volumes, folders.releases]) {
      mkdirSync(path, { recursive: true });
      const own = path === folders.home;
      if (user !== undefined) chownSync(path, own ? user.uid : 0, user.gid);
      chmodSync(path, user === undefined || own ? 0o700 : 0o710);
    }
    return { ...folders, ...(user === undefined ? {} : { user }) };
  }

  /**
   * The volume's folder, made when it never was there. One that was there and is gone (a disk that is not mounted, a folder that somebody removed) is not
   * made anew: a database would begin empty, as if nothing had been lost. Throws VolumeGone.
   */
  volume(stackId: string, name: string): string {
    const { dir, volumes, user } = this.open(stackId);
    const made = join(dir, "volumes.made");
    const folder = join(volumes, name);
    if (!existsSync(folder) && existsSync(join(made, name))) throw new VolumeGone(name, folder);
    ownFolder(folder, user);
    mkdirSync(made, { recursive: true, mode: 0o700 });
    writeFileSync(join(made, name), "");
    return folder;
  }

  /** A folder for temporary files of one instance. */
  temporary(stackId: string, id: string): string {
    const { tmp, user } = this.open(stackId);
    return ownFolder(join(tmp, id), user);
  }

  /** Forgets the user of a stack whose last file is gone; its uid is never given again. */
  forget(stackId: string): void {
    const file = join(this.#home, "edge", "uids.json");
    const known = readJson(file);
    if (!Value.Check(Uids, known) || known.stacks[stackId] === undefined || existsSync(join(this.#home, "stacks", stackId))) return;
    const { [stackId]: _gone, ...stacks } = known.stacks;
    writeJson(file, { ...known, stacks }, { durable: true });
  }

  #userOf(stackId: string): User | undefined {
    if (this.#firstUid === undefined) return undefined;
    const file = join(this.#home, "edge", "uids.json");
    const read = readJson(file);
    const known = Value.Check(Uids, read) ? read : { next: this.#firstUid, stacks: {} };
    const uid = known.stacks[stackId] ?? known.next;
    if (known.stacks[stackId] === undefined)
      writeJson(file, { next: uid + 1, stacks: { ...known.stacks, [stackId]: uid } }, { durable: true });
    return { uid, gid: uid };
  }
}

function ownFolder(path: string, user: User | undefined): string {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (user !== undefined) chownSync(path, user.uid, user.gid);
  return path;
}
