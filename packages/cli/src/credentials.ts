// Tokens by server, in `<config dir>/credentials.json`, which nobody but its owner may read.
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { Failure, exitCodes } from "./failure.ts";
import { parseJson } from "@berth/contract/json.ts";

export interface Credential {
  readonly token: string;
  readonly user: string;
  readonly savedAt: string;
}
export interface Credentials {
  /** The server that was signed in to last; used when none is named. */
  readonly current?: string;
  readonly servers: Readonly<Record<string, Credential>>;
}

const fileOf = (configDir: string): string => join(configDir, "credentials.json");

export async function readCredentials(configDir: string): Promise<Credentials> {
  let text: string;
  try {
    text = await readFile(fileOf(configDir), "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT")) return { servers: {} };
    throw error;
  }
  const value = parseJson(text);
  if (!isCredentials(value))
    throw new Failure(exitCodes.failed, `${fileOf(configDir)} is not a credentials file.`, { next: "Remove it and run `berth login`." });
  return value;
}

export async function saveCredential(configDir: string, server: string, credential: Credential): Promise<void> {
  const known = await readCredentials(configDir);
  await write(configDir, { current: server, servers: { ...known.servers, [server]: credential } });
}

/** Whether there was one. */
export async function forgetCredential(configDir: string, server: string): Promise<boolean> {
  const known = await readCredentials(configDir);
  if (!(server in known.servers)) return false;
  const servers = Object.fromEntries(Object.entries(known.servers).filter(([url]) => url !== server));
  await write(configDir, { ...(known.current === undefined || known.current === server ? {} : { current: known.current }), servers });
  return true;
}

async function write(configDir: string, value: Credentials): Promise<void> {
  await mkdir(configDir, { recursive: true, mode: 0o700 });
  const draft = `${fileOf(configDir)}.${randomUUID()}`;
  try {
    await writeFile(draft, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600, flag: "wx" });
    await chmod(draft, 0o600);
    await rename(draft, fileOf(configDir));
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** `127.0.0.1:7420/` as `http://127.0.0.1:7420`: one spelling per server. */
export function serverUrl(text: string): string {
  const local = /^(localhost|127\.|\[::1\])/.test(text);
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `${local ? "http" : "https"}://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.search !== "")
    throw new Failure(exitCodes.usage, `\`${text}\` is not the address of a server.`, {
      next: "Write it like http://127.0.0.1:7420 or https://berth.example.com.",
    });
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

/** Whether the server is on this machine. */
export function isLocal(url: string): boolean {
  const host = URL.parse(url)?.hostname ?? "";
  return host === "localhost" || host === "[::1]" || /^127\./.test(host) || host.endsWith(".localhost");
}

function isCredentials(value: unknown): value is Credentials {
  if (typeof value !== "object" || value === null || !("servers" in value) || typeof value.servers !== "object" || value.servers === null)
    return false;
  return Object.values(value.servers).every(
    (item: unknown) => typeof item === "object" && item !== null && "token" in item && typeof item.token === "string",
  );
}

/** Whether a failure of the system has this code, e.g. ENOENT. */
export function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" && codes.includes(error.code);
}
