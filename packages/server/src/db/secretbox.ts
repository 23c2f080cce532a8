// Encrypts secrets for the database with keys that lie outside of it (AES-256-GCM). Every ciphertext names its key and is bound to
// its row, so that it cannot be moved to another; a key is never reused for another id.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { chmodSync, existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";

export interface SecretBox {
  /** `v1.<key id>.<base64url>`; `identity` names the row, e.g. `secret:<stack>/<name>/<version>`. */
  seal(value: string, identity: string): string;
  /** Throws when the text was changed, belongs to another identity, or its key is gone. */
  open(ciphertext: string, identity: string): string;
  /** The same value under the current key; undefined when it is under it already. */
  rewrap(ciphertext: string, identity: string): string | undefined;
  readonly currentKey: string;
}

interface KeyFile { readonly current: string; readonly keys: Readonly<Record<string, string>> }

/** Opens the key file, making it when there is none. Mode 0600. */
export function openSecretBox(path: string, random: (bytes: number) => Buffer = randomBytes): SecretBox {
  if (!existsSync(path)) createKeyFile(path, random);
  const file = readKeyFile(path);
  const keys = new Map(Object.entries(file.keys).map(([id, key]) => [id, Buffer.from(key, "base64")]));

  function keyFor(id: string): Buffer {
    const key = keys.get(id);
    if (key === undefined || key.length !== 32) throw new Error(`the key ${id} of this ciphertext is not in ${path}; restore that file from a backup`);
    return key;
  }
  keyFor(file.current);

  function seal(value: string, identity: string): string {
    const iv = random(12);
    const cipher = createCipheriv("aes-256-gcm", keyFor(file.current), iv).setAAD(aad(file.current, identity));
    const sealed = Buffer.concat([iv, cipher.update(value, "utf8"), cipher.final(), cipher.getAuthTag()]);
    return `v1.${file.current}.${sealed.toString("base64url")}`;
  }

  function open(ciphertext: string, identity: string): string {
    const { id, sealed } = parse(ciphertext);
    const decipher = createDecipheriv("aes-256-gcm", keyFor(id), sealed.subarray(0, 12), { authTagLength: 16 }).setAAD(aad(id, identity)).setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]).toString("utf8");
  }

  return {
    seal, open, currentKey: file.current,
    rewrap: (ciphertext, identity) => (parse(ciphertext).id === file.current ? undefined : seal(open(ciphertext, identity), identity)),
  };
}

/** Adds a new key and makes it the current one; open the box again, `rewrap` every row, then drop the old key with `dropKey`. */
export function rotateSecretKey(path: string, random: (bytes: number) => Buffer = randomBytes): string {
  const file = readKeyFile(path);
  const made = newKey(random);
  writeKeyFile(path, { current: made.id, keys: { ...file.keys, [made.id]: made.key } });
  return made.id;
}

/** Forgets a key that no row uses any more. */
export function dropSecretKey(path: string, id: string): void {
  const file = readKeyFile(path);
  if (file.current === id) throw new Error("the current key cannot be dropped");
  writeKeyFile(path, { current: file.current, keys: Object.fromEntries(Object.entries(file.keys).filter(([known]) => known !== id)) });
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
  const file = JSON.parse(readFileSync(path, "utf8")) as KeyFile;
  if (typeof file.current !== "string" || typeof file.keys !== "object") throw new Error(`${path} is damaged; restore it from a backup`);
  return file;
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
}

function writeKeyFile(path: string, file: KeyFile): void {
  const draft = `${path}.draft`;
  writeFileSync(draft, serialise(file), { mode: 0o600, flush: true });
  renameSync(draft, path);
}

function serialise(file: KeyFile): string {
  return `${JSON.stringify(file, undefined, 2)}\n`;
}
