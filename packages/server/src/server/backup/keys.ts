// The keys that lie outside of the database, for a backup that is to be restored on another machine: sealed with a passphrase.
// Without one they are never part of a backup, so that the file alone opens no secret.
import { argon2, createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";
import { BackupRefused } from "./format.ts";

/** RFC 9106, section 4: the second recommended option, for machines that cannot spare 2 GiB. */
const cost = { memory: 65_536, passes: 3, parallelism: 4 } as const;
export const shortestPassphrase = 8;

export const SealedKeys = Type.Object({
  kdf: Type.Literal("argon2id"),
  memory: Type.Integer({ minimum: 8, maximum: 4_194_304 }),
  passes: Type.Integer({ minimum: 1, maximum: 100 }),
  parallelism: Type.Integer({ minimum: 1, maximum: 64 }),
  cipher: Type.Literal("aes-256-gcm"),
  salt: Type.String(),
  iv: Type.String(),
  sealed: Type.String(),
});
export type SealedKeys = Static<typeof SealedKeys>;

/** File name -> its text. `installation` binds the keys to the backup they belong to. */
export async function sealKeys(files: Readonly<Record<string, string>>, passphrase: string, installation: string): Promise<SealedKeys> {
  const salt = randomBytes(16);
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", await derive(passphrase, salt, cost), iv).setAAD(aad(installation));
  const sealed = Buffer.concat([cipher.update(JSON.stringify(files), "utf8"), cipher.final(), cipher.getAuthTag()]);
  return {
    kdf: "argon2id",
    ...cost,
    cipher: "aes-256-gcm",
    salt: salt.toString("base64"),
    iv: iv.toString("base64"),
    sealed: sealed.toString("base64"),
  };
}

/** Throws `BackupRefused` when the passphrase is another one. */
export async function openKeys(text: string, passphrase: string, installation: string): Promise<Record<string, string>> {
  const keys = JSON.parse(text) as unknown;
  if (!Value.Check(SealedKeys, keys))
    throw new BackupRefused(
      "The keys in this backup are sealed in a way that this Berth does not know.",
      "Restore it with the Berth that wrote it, or a newer one.",
    );
  const bytes = Buffer.from(keys.sealed, "base64");
  const key = await derive(passphrase, Buffer.from(keys.salt, "base64"), keys);
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(keys.iv, "base64"), { authTagLength: 16 })
      .setAAD(aad(installation))
      .setAuthTag(bytes.subarray(-16));
    return JSON.parse(Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString("utf8")) as Record<
      string,
      string
    >;
  } catch (error) {
    throw new BackupRefused(
      "The passphrase does not open the keys in this backup.",
      "Nothing was changed. Give the passphrase that it was made with.",
      { cause: error },
    );
  }
}

function derive(
  passphrase: string,
  nonce: Buffer,
  { memory, passes, parallelism }: { readonly memory: number; readonly passes: number; readonly parallelism: number },
): Promise<Buffer> {
  // Typed letters may be composed or not, depending on the keyboard.
  return promisify(argon2)("argon2id", {
    message: Buffer.from(passphrase.normalize("NFC"), "utf8"),
    nonce,
    memory,
    passes,
    parallelism,
    tagLength: 32,
  });
}

function aad(installation: string): Buffer {
  return Buffer.from(`berth backup keys/${installation}`, "utf8");
}
