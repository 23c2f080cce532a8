// Encrypts secrets for the database with keys that lie outside of it (AES-256-GCM). Every ciphertext names its key and is bound to
// its row, so that it cannot be moved to another; a key is never reused for another id.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { chmodSync, existsSync, linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { syncFolderNow, writeWhole } from "../os/files.ts";

export interface SecretBox {
  /** `v1.<key id>.<base64url>`; `identity` names the row, e.g. `secret:<stack>/<name>/<version>`. */
  seal(value: string, identity: string): string;
  /** Throws when the text was changed, belongs to another identity, or its key is gone. */
  open(ciphertext: string, identity: string): string;
  /** The same value under the current key; undefined when it is under it already. */
  rewrap(ciphertext: string, identity: string): string | undefined;
  readonly currentKey: string;
  /** Whether it has the key of this id. */
  knows(id: string): boolean;
  /** Whether somebody said to go on without the key of this id. */
  gaveUp(id: string): boolean;
}

interface KeyFile {
  readonly current: string;
  readonly keys: Readonly<Record<string, string>>;
  /** Keys that are gone, and since when somebody went on without them: id -> time. */
  readonly lost?: Readonly<Record<string, string>>;
}

/** Somebody has to see to the key file: it is never made anew in the place of one that cannot be read. */
export class KeyFileDamaged extends Error {}

/** Opens the key file, making it when there is none: whether there may be none, `openKeys` of server/keys.ts looks. Mode 0600. Errors: `KeyFileDamaged`. */
export function openSecretBox(path: string, random: (bytes: number) => Buffer = randomBytes): SecretBox {
  if (!existsSync(path)) createKeyFile(path, random);
  chmodSync(path, 0o600);
  return secretBoxOf(readFileSync(path, "utf8"), path, random);
}

/** The box of a key file's text, which nothing is changed of. Errors: `KeyFileDamaged`. */
export function secretBoxOf(text: string, path: string, random: (bytes: number) => Buffer = randomBytes): SecretBox {
  const file = parseKeyFile(text, path);
  const keys = new Map(Object.entries(file.keys).map(([id, key]) => [id, Buffer.from(key, "base64")]));

  function keyFor(id: string): Buffer {
    const key = keys.get(id);
    if (key === undefined) throw new Error(`the key ${id} of this ciphertext is not in ${path}; restore that file from a backup`);
    return key;
  }

  function seal(value: string, identity: string): string {
    const iv = random(12);
    const cipher = createCipheriv("aes-256-gcm", keyFor(file.current), iv).setAAD(aad(file.current, identity));
    const sealed = Buffer.concat([iv, cipher.update(value, "utf8"), cipher.final(), cipher.getAuthTag()]);
    return `v1.${file.current}.${sealed.toString("base64url")}`;
  }

  function open(ciphertext: string, identity: string): string {
    const { id, sealed } = parse(ciphertext);
    const decipher = createDecipheriv("aes-256-gcm", keyFor(id), sealed.subarray(0, 12), { authTagLength: 16 })
      .setAAD(aad(id, identity))
      .setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]).toString("utf8");
  }

  return {
    seal,
    open,
    currentKey: file.current,
    knows: (id) => keys.has(id),
    gaveUp: (id) => file.lost?.[id] !== undefined,
    rewrap: (ciphertext, identity) => (parse(ciphertext).id === file.current ? undefined : seal(open(ciphertext, identity), identity)),
  };
}

/** Adds a new key and makes it the current one; open the box again, `rewrap` every row, then drop the old key with `dropKey`. */
export function rotateSecretKey(path: string, random: (bytes: number) => Buffer = randomBytes): string {
  const file = readKeyFile(path);
  const made = newKey(random);
  writeKeyFile(path, { ...file, current: made.id, keys: { ...file.keys, [made.id]: made.key } });
  return made.id;
}

/** Forgets a key that no row uses any more. */
export function dropSecretKey(path: string, id: string): void {
  const file = readKeyFile(path);
  if (file.current === id) throw new Error("the current key cannot be dropped");
  writeKeyFile(path, { ...file, keys: Object.fromEntries(Object.entries(file.keys).filter(([known]) => known !== id)) });
}

/** Ids of the keys in a key file's text; none when there is no text. */
export function secretKeyIds(text: string | undefined, path: string): string[] {
  return text === undefined ? [] : Object.keys(parseKeyFile(text, path).keys);
}

/** Whether another file's key is taken: `part` when it does not open all that is sealed under it, so that what was given up stays given up. */
export type Taking = "whole" | "part" | "none";

/** Keys of another file's text of which it has to be looked at what they open: the file has other bytes of that name, or they were given up. */
export function contestedSecretKeys(path: string, text: string): string[] {
  const other = parseKeyFile(text, "the file of these keys");
  if (!existsSync(path)) return [];
  const own = readKeyFile(path);
  return Object.entries(other.keys).flatMap(([id, key]) =>
    own.keys[id] === key || (own.keys[id] === undefined && own.lost?.[id] === undefined) ? [] : [id],
  );
}

/**
 * Adds the keys of another file's text, so that what they sealed can be opened here; the current key stays. Makes the file when there is none. `take` decides
 * of each key that the file does not have so; `here`: it has other bytes of that name. Answers the ids of those that were taken.
 */
export function mergeSecretKeys(
  path: string,
  text: string,
  take: (id: string, here: boolean) => Taking = (_id, here) => (here ? "none" : "whole"),
): string[] {
  const other = parseKeyFile(text, "the file of these keys");
  if (!existsSync(path)) {
    writeKeyFile(path, other);
    return Object.keys(other.keys);
  }
  const own = readKeyFile(path);
  const keys = new Map(Object.entries(own.keys));
  const lost = new Map([...Object.entries(other.lost ?? {}).filter(([id]) => !keys.has(id)), ...Object.entries(own.lost ?? {})]);
  const taken: string[] = [];
  for (const [id, key] of Object.entries(other.keys)) {
    if (keys.get(id) === key) continue;
    const taking = take(id, keys.has(id));
    if (taking === "none") continue;
    keys.set(id, key);
    taken.push(id);
    if (taking === "whole") lost.delete(id);
  }
  writeKeyFile(path, {
    current: own.current,
    keys: Object.fromEntries(keys),
    ...(lost.size === 0 ? {} : { lost: Object.fromEntries(lost) }),
  });
  return taken;
}

/**
 * Notes that Berth goes on without these keys: what they sealed stays, and opens again should they be added. Makes the file when there is none.
 * `spoilt`: keys that open nothing, which leave the file; with the current one among them, what comes is sealed with a new one.
 */
export function giveUpSecretKeys(path: string, ids: readonly string[], now: Date, spoilt: readonly string[] = []): void {
  if (!existsSync(path)) createKeyFile(path, randomBytes);
  const file = readKeyFile(path);
  const lost = { ...file.lost, ...Object.fromEntries(ids.map((id) => [id, now.toISOString()])) };
  const keys = Object.fromEntries(Object.entries(file.keys).filter(([id]) => !spoilt.includes(id)));
  if (keys[file.current] !== undefined) {
    writeKeyFile(path, { ...file, keys, lost });
    return;
  }
  const made = newKey(randomBytes);
  writeKeyFile(path, { current: made.id, keys: { ...keys, [made.id]: made.key }, lost });
}

/** The id of the key that a ciphertext is under; undefined when it is none. */
export function keyOf(ciphertext: string): string | undefined {
  return /^v1\.([a-z0-9]+)\./.exec(ciphertext)?.[1];
}

function parse(ciphertext: string): { id: string; sealed: Buffer } {
  const [, id, body] = /^v1\.([a-z0-9]+)\.([A-Za-z0-9_-]+)$/.exec(ciphertext) ?? [];
  const sealed = Buffer.from(body ?? "", "base64url");
  if (id === undefined || sealed.length < 28) throw new Error("this is not a ciphertext of Berth");
  return { id, sealed };
}

function aad(id: string, identity: string): Buffer {
  return Buffer.from(`berth/v1/${id}/${identity}`, "utf8");
}

function newKey(random: (bytes: number) => Buffer): { id: string; key: string } {
  return { id: `k${random(6).toString("hex")}`, key: random(32).toString("base64") };
}

function readKeyFile(path: string): KeyFile {
  chmodSync(path, 0o600);
  return parseKeyFile(readFileSync(path, "utf8"), path);
}

/** Its message never quotes the file. */
function parseKeyFile(text: string, path: string): KeyFile {
  const file = parsed(text);
  const isText = (value: unknown): value is string => typeof value === "string";
  const table = (value: unknown): value is Record<string, string> =>
    typeof value === "object" && value !== null && Object.values(value).every(isText);
  if (
    typeof file !== "object" ||
    file === null ||
    !("current" in file && isText(file.current)) ||
    !("keys" in file && table(file.keys)) ||
    ("lost" in file && !table(file.lost)) ||
    file.keys[file.current] === undefined ||
    Object.values(file.keys).some((key) => Buffer.from(key, "base64").length !== 32)
  )
    throw new KeyFileDamaged(`${path} is damaged: it holds no keys that can be read`);
  return file as KeyFile;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // What the parser says quotes the file.
    return undefined;
  }
}

/** Two starters make one file: the link fails for the second. */
function createKeyFile(path: string, random: (bytes: number) => Buffer): void {
  const made = newKey(random);
  const draft = `${path}.${random(6).toString("hex")}`;
  writeFileSync(draft, serialise({ current: made.id, keys: { [made.id]: made.key } }), { mode: 0o600, flush: true });
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  // Before anything is sealed with it, by either of the two.
  syncFolderNow(dirname(path));
}

function writeKeyFile(path: string, file: KeyFile): void {
  writeWhole(path, serialise(file), { durable: true });
}

function serialise(file: KeyFile): string {
  return `${JSON.stringify(file, undefined, 2)}\n`;
}
