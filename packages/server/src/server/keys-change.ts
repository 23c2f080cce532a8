// Changes to this home's key file that look at what the database holds sealed: a key is known by what it opens, since its name can stand over the wrong
// bytes. No bytes of a key are ever removed: the file that they leave is kept beside the new one.
import { readFileSync, renameSync } from "node:fs";
import type { Db } from "../db/pool.ts";
import { contestedSecretKeys, giveUpSecretKeys, mergeSecretKeys, secretBoxOf, type Taking } from "../db/secretbox.ts";
import { writeWhole } from "../os/files.ts";
import { openedBy, type KeyState } from "./keys.ts";

/** Runs work with the database and the cluster of this home; undefined when there is no database yet, so that nothing is sealed. */
export type WithSealed = <T>(work: (db: Db, cluster: string) => Promise<T>) => Promise<T | undefined>;

export interface AddedKeys {
  readonly taken: readonly string[];
  /** Of the other file, but no better than what is here. */ readonly left: readonly string[];
  /** Where the file of before is kept, when bytes of it were replaced. */ readonly aside: string | undefined;
}

/** Adds the keys of another file's text; where names agree and bytes differ, those stay that open more. Errors: `KeyFileDamaged`. */
export async function addKeys(keyFile: string, text: string, withSealed: WithSealed, now: Date): Promise<AddedKeys> {
  const contested = contestedSecretKeys(keyFile, text);
  if (contested.length === 0) return { taken: mergeSecretKeys(keyFile, text), left: [], aside: undefined };
  const own = secretBoxOf(readFileSync(keyFile, "utf8"), keyFile);
  const found = await withSealed(async (db, cluster) => ({
    here: await openedBy(db, own, cluster),
    there: await openedBy(db, secretBoxOf(text, "the file of these keys"), cluster),
  }));
  const take = (id: string, here: boolean): Taking => {
    const there = found?.there.get(id);
    if (there === undefined) return here ? "none" : "whole";
    if (there.opened <= (here ? (found?.here.get(id)?.opened ?? 0) : 0)) return "none";
    return there.opened === there.of ? "whole" : "part";
  };
  const replaces = contested.some((id) => own.knows(id) && take(id, true) !== "none");
  const aside = replaces ? keepCopy(keyFile, now) : undefined;
  const taken = mergeSecretKeys(keyFile, text, take);
  return { taken, left: contested.filter((id) => !taken.includes(id)), aside };
}

/** Goes on without the keys that `state` tells as lost; those that open something stay. Answers where the file of before is kept, when keys left it. */
export function goOnWithout(keyFile: string, state: KeyState, now: Date): string | undefined {
  let aside: string | undefined;
  if (state.file === "damaged") {
    // Somebody may still read a part of it.
    aside = asideName(keyFile, now);
    renameSync(keyFile, aside);
  } else if (state.spoilt.length > 0) aside = keepCopy(keyFile, now);
  giveUpSecretKeys(keyFile, state.lostKeys, now, state.spoilt);
  return aside;
}

const asideName = (keyFile: string, now: Date): string => `${keyFile}.aside-${now.toISOString().replace(/[:.]/g, "-")}`;

function keepCopy(keyFile: string, now: Date): string {
  const aside = asideName(keyFile, now);
  writeWhole(aside, readFileSync(keyFile, "utf8"), { durable: true });
  return aside;
}
