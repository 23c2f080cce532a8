// SQL of registries. Passwords are sealed like secrets and leave this file only through `openRegistries`, for whoever pulls or pushes.
import { sql } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import type { RegistryLogin } from "../../core/image/reference.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { defineList, instant, text, type Keyed, type Slice } from "../page.ts";

/** What a ciphertext is bound to. */
export const registryIdentity = (host: string): string => `registry:${host}`;

export interface RegistryRow {
  readonly host: string;
  readonly username: string;
  readonly plain_http: boolean;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly updated_by: string;
}
const shown = ["host", "username", "plain_http", "created_at", "updated_at", "updated_by"] as const;

export const registryList = defineList(lists.registries, {
  sort: { host: text("host"), updatedAt: instant("updated_at") },
  unique: [text("host")],
  search: { host: sql.ref("host"), username: sql.ref("username") },
});

export async function listRegistries(trx: Db, page: Slice): Promise<(RegistryRow & Keyed)[]> {
  return trx
    .selectFrom("registries")
    .select([...shown, page.keys.as("cursor_keys")])
    .where(page.where)
    .orderBy(page.order)
    .limit(page.limit + 1)
    .execute();
}

export interface NewRegistry {
  readonly host: string;
  readonly username: string;
  readonly password: string;
  readonly plainHttp: boolean;
  readonly by: string;
}

export async function putRegistry(trx: Db, box: SecretBox, given: NewRegistry): Promise<RegistryRow> {
  const values = {
    username: given.username,
    ciphertext: box.seal(given.password, registryIdentity(given.host)),
    plain_http: given.plainHttp,
    updated_at: new Date(),
    updated_by: given.by,
  };
  return trx
    .insertInto("registries")
    .values({ host: given.host, ...values })
    .onConflict((conflict) => conflict.column("host").doUpdateSet(values))
    .returning([...shown])
    .executeTakeFirstOrThrow();
}

export async function deleteRegistry(trx: Db, host: string): Promise<boolean> {
  const result = await trx.deleteFrom("registries").where("host", "=", host).executeTakeFirst();
  return result.numDeletedRows > 0n;
}

/** All of them, or the one of a host; a password that cannot be opened here is undefined. */
export async function openRegistries(trx: Db, box: SecretBox, host?: string): Promise<(RegistryLogin & { readonly readable: boolean })[]> {
  const rows = await trx
    .selectFrom("registries")
    .select(["host", "username", "ciphertext", "plain_http"])
    .$if(host !== undefined, (query) => query.where("host", "=", host ?? ""))
    .orderBy("host")
    .execute();
  return rows.map(({ host: of, username, ciphertext, plain_http: plainHttp }) => {
    const password = openOrNone(box, ciphertext, registryIdentity(of));
    return { host: of, username, password: password ?? "", plainHttp, readable: password !== undefined };
  });
}

/** Whoever asks says what it means for him: one that cannot be opened must not keep the others from their users. */
function openOrNone(box: SecretBox, ciphertext: string, identity: string): string | undefined {
  try {
    return box.open(ciphertext, identity);
  } catch {
    return undefined;
  }
}
