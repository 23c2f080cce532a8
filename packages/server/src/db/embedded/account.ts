// Chooses the user that the database runs as. PostgreSQL refuses root, and as root it gets a uid of its own, so that
// applications can read neither its files nor its memory (promise 8).
import { chmodSync, lchownSync, readFileSync, readdirSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseRefused } from "../refused.ts";

/** Whom the database's processes run as; undefined when that is simply this process's own user. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** In the range that systemd's table of uids leaves to nobody (60706 to 61183), and far from those of stacks. */
const firstUid = 61_100;

/** The account for a data folder: the folder's owner when it exists, else a free uid. Throws `wrong_owner`. */
export function accountFor(dataDir: string): Account | undefined {
  const owner = ownerOf(dataDir);
  const self = process.getuid?.() ?? 0;
  if (self !== 0) {
    if (owner !== undefined && owner.uid !== self)
      throw new DatabaseRefused(
        "wrong_owner",
        `The database in ${dataDir} belongs to uid ${owner.uid}, and this is uid ${self}.`,
        "Start Berth as the user who made it, or set BERTH_HOME to another folder.",
      );
    return undefined;
  }
  if (owner === undefined) {
    const uid = freeUid();
    return { uid, gid: uid };
  }
  if (owner.uid === 0)
    throw new DatabaseRefused(
      "wrong_owner",
      `The database in ${dataDir} belongs to root, and PostgreSQL refuses to run as root.`,
      `Give the folder back to the user that it had, e.g. \`chown -R ${firstUid}:${firstUid} ${dataDir}\`.`,
    );
  return owner;
}

/** How to run a program that insists on a user with a name: initdb calls getpwuid, unlike the server itself. */
export type NamedRun =
  | { readonly kind: "direct" }
  /** As root: as a user that every system has, in a folder that only the database's own group may enter; `giveTo` follows. */
  | { readonly kind: "as"; readonly uid: number }
  /** An ordinary user without an entry (a container with a random uid): in a namespace with a passwd file that has one. */
  | { readonly kind: "namespace"; readonly passwd: string };

/** Throws `no_user` when this machine has no user besides root. */
export function namedRun(account: Account | undefined): NamedRun {
  if (account === undefined)
    return hasName()
      ? { kind: "direct" }
      : {
          kind: "namespace",
          passwd: `${readFileSync("/etc/passwd", "utf8").trimEnd()}\nberth:x:${process.getuid?.()}:${process.getgid?.()}::/:/bin/false\n`,
        };
  const users = passwdEntries();
  const named = users.find((entry) => entry.name === "nobody" && entry.uid !== 0) ?? users.find((entry) => entry.uid !== 0);
  if (named === undefined)
    throw new DatabaseRefused(
      "no_user",
      "This machine has no user besides root, and PostgreSQL refuses to run as root.",
      "Add a user such as `nobody`, or set DATABASE_URL to a PostgreSQL 15 or newer.",
    );
  return { kind: "as", uid: named.uid };
}

function hasName(): boolean {
  try {
    return userInfo().username !== "";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_SYSTEM_ERROR") return false;
    throw error;
  }
}

/** Gives a folder and everything in it to the account, following no symbolic link. */
export function giveTo(account: Account, folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) giveTo(account, path);
    else lchownSync(path, account.uid, account.gid);
  }
  lchownSync(folder, account.uid, account.gid);
}

/** Makes sure that the account can pass down to the folder; Berth's own home is opened, nothing above it. Throws `not_passable`. */
export function ensurePassable(home: string): void {
  const mode = statSync(home).mode & 0o777;
  if ((mode & 0o001) === 0) chmodSync(home, mode | 0o011);
  for (let folder = dirname(home); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0)
      throw new DatabaseRefused(
        "not_passable",
        `${home} cannot hold the database: other users may not pass through ${folder}.`,
        "Run Berth as an ordinary user, or set BERTH_HOME to a folder such as /var/lib/berth.",
      );
    if (folder === dirname(folder)) return;
  }
}

function ownerOf(path: string): Account | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : { uid: stat.uid, gid: stat.gid };
}

function freeUid(): number {
  const taken = new Set(passwdEntries().map((entry) => entry.uid));
  let uid = firstUid;
  while (taken.has(uid)) uid += 1;
  return uid;
}

function passwdEntries(): { name: string; uid: number }[] {
  return readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [name, , uid] = line.split(":");
      return name === undefined || uid === undefined ? [] : [{ name, uid: Number(uid) }];
    });
}
