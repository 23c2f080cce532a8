// The account at an authority: its key is made once, sealed, and used for every host of this server. Must never make a second one where the first can be used.
import { generateKeyPairSync } from "node:crypto";
import type { AcmeSettings } from "../../core/acme.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { accountIdentity, addAccount, changeAccount, dropAccount, findAccount } from "../../resources/certificates/automatic.ts";
import { AuthorityRefused, openAuthority, type AccountKey, type Authority } from "./authority.ts";

export interface AccountDeps {
  readonly db: Db;
  readonly secretBox: SecretBox;
  readonly settings: AcmeSettings;
  /** The environment's words on proxies. */
  readonly proxies: Readonly<Record<string, string>>;
}

/** A key in PEM, as authorities take it for accounts and certificates alike. */
export function newKey(): string {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** By database, cluster and directory: the registrations that are under way. */
const registrations = new WeakMap<Db, Map<string, Promise<unknown>>>();

/** The authority, spoken to with this server's account. Errors: those of `openAuthority`'s methods. */
export async function openAccount(deps: AccountDeps, cluster: string, signal: AbortSignal): Promise<Authority> {
  const { settings, db, proxies } = deps;
  const kept = await keptKey(deps, cluster);
  if (kept.url !== null && kept.contact === settings.contact) return openAuthority(settings, kept, proxies, signal);
  // Hosts come together, and an authority may fail on two questions for the same new account: one makes it, and the others find it made.
  const underWay = registrations.get(db) ?? new Map<string, Promise<unknown>>();
  registrations.set(db, underWay);
  const name = `${cluster} ${settings.directory}`;
  const turn = (underWay.get(name) ?? Promise.resolve()).then(() => openInTurn(deps, cluster, signal));
  underWay.set(
    name,
    turn.catch(() => undefined),
  );
  return turn;
}

async function openInTurn(deps: AccountDeps, cluster: string, signal: AbortSignal): Promise<Authority> {
  const { settings, db, proxies } = deps;
  const kept = await keptKey(deps, cluster);
  const authority = await openAuthority(settings, kept, proxies, signal);
  if (kept.url !== null && kept.contact === settings.contact) return authority;
  const url = await register(authority, async () => {
    // An authority that was set up anew: the key is good for an account there, too.
    await changeAccount(db, cluster, settings.directory, { url: null });
    return openAuthority(settings, { ...kept, url: null }, proxies, signal);
  });
  await changeAccount(db, cluster, settings.directory, { url, contact: settings.contact });
  return openAuthority(settings, { key: kept.key, url }, proxies, signal);
}

async function register(authority: Authority, anew: () => Promise<Authority>): Promise<string> {
  try {
    return await authority.register();
  } catch (error) {
    if (!isUnknownAccount(error)) throw error;
    return (await anew()).register();
  }
}

/** The authority has no account of this key. */
export function isUnknownAccount(error: unknown): boolean {
  return error instanceof AuthorityRefused && error.problem.type === "urn:ietf:params:acme:error:accountDoesNotExist";
}

async function keptKey({ db, secretBox, settings }: AccountDeps, cluster: string): Promise<AccountKey & { readonly contact: string }> {
  const { directory } = settings;
  const identity = accountIdentity(cluster, directory);
  for (;;) {
    const row = await findAccount(db, cluster, directory);
    if (row === undefined) {
      await addAccount(db, cluster, directory, secretBox.seal(newKey(), identity));
      continue;
    }
    try {
      return { key: secretBox.open(row.ciphertext, identity), url: row.url, contact: row.contact };
    } catch {
      // Sealed with a key that was given up: certificates are got with a new account as well.
      await dropAccount(db, cluster, directory);
    }
  }
}
