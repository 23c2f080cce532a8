// The signed header that pins a verification request to one release (promise 1). Control plane and edge share its key; nobody else can make or replay it for long.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { chmod, link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

export const probeHeader = "x-berth-probe";
export const releaseHeader = "x-berth-release";

/** A header that says it is valid for longer than this is refused: an intercepted one must die soon. */
const longestLife = 120_000;

export interface ProbePin {
  readonly stack: string;
  readonly component: string;
  readonly releaseHash: string;
}

/** `<stack>/<component>;<releaseHash>;<expiry unix ms>;<hmac sha256 hex>` */
export function signProbe(pin: ProbePin, expires: number, key: Buffer): string {
  const text = `${pin.stack}/${pin.component};${pin.releaseHash};${String(expires)}`;
  return `${text};${createHmac("sha256", key).update(text).digest("hex")}`;
}

/** The pin when signature and expiry (`now`: unix ms) are right, else undefined. */
export function verifyProbe(header: string, key: Buffer, now: number): ProbePin | undefined {
  const end = header.lastIndexOf(";");
  if (end < 0) return undefined;
  const text = header.slice(0, end);
  const given = Buffer.from(header.slice(end + 1), "hex");
  const wanted = createHmac("sha256", key).update(text).digest();
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return undefined;
  const [target = "", releaseHash = "", expiry = ""] = text.split(";");
  const [stack = "", component = ""] = target.split("/");
  const expires = Number(expiry);
  return Number.isInteger(expires) && expires > now && expires <= now + longestLife ? { stack, component, releaseHash } : undefined;
}

export function probeKeyFile(home: string): string {
  return join(home, "edge", "probe.key");
}

/** Reads the shared key, making it first when nobody has; of two makers at once one wins and both read the same. */
export async function loadProbeKey(home: string): Promise<Buffer> {
  const file = probeKeyFile(home);
  const known = await readKey(file);
  if (known !== undefined) return known;
  await mkdir(join(home, "edge"), { recursive: true, mode: 0o700 });
  const draft = `${file}.${String(process.pid)}.${randomBytes(4).toString("hex")}`;
  await writeFile(draft, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600, flag: "wx", flush: true });
  await chmod(draft, 0o600);
  await link(draft, file).catch((error: unknown) => {
    if (!isCode(error, "EEXIST")) throw error;
  });
  await rm(draft);
  const made = await readKey(file);
  if (made === undefined) throw new Error(`${file} is not readable as a key`);
  return made;
}

async function readKey(file: string): Promise<Buffer | undefined> {
  try {
    const key = Buffer.from((await readFile(file, "utf8")).trim(), "hex");
    if (key.length !== 32) throw new Error(`${file} does not hold a key of 32 bytes in hex`);
    return key;
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
