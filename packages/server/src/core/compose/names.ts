// Names of a Compose file as names of Berth: DNS labels. Pure.
import { namePattern } from "@berth/contract/names.ts";
import type { Position } from "./tree.ts";
import { complain, type Place } from "./values.ts";

const valid = new RegExp(namePattern);

export function isName(text: string): boolean {
  return valid.test(text);
}

/** The nearest DNS label: `db_data` is `db-data`. */
export function toName(text: string): string {
  const label = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+/, "");
  return (/^[a-z]/.test(label) ? label : `n${label === "" ? "" : "-"}${label}`).slice(0, 40).replace(/-+$/, "");
}

/** An environment variable's name from any name: `db-password` is `DB_PASSWORD`. */
export function toVariable(text: string): string {
  const name = text
    .toUpperCase()
    .replace(/[^A-Z0-9]+/g, "_")
    .replace(/^_+|_+$/g, "");
  return /^[A-Z]/.test(name) ? name : `N_${name}`;
}

/** Volumes, secrets and configs are named inside of the stack only, so their names are mended and noted; two that become one are a problem. */
export function mendName(place: Place, what: string, text: string, at: Position, taken: ReadonlyMap<string, string>): string {
  const name = isName(text) ? text : toName(text);
  const other = [...taken].find(([, known]) => known === name)?.[0];
  if (other !== undefined) complain(place, at, text, `${what} ${text} and ${other} would both be called ${name}`, "Rename one of them.");
  else if (name !== text) place.findings.note("compose_name_changed", at, "", { what, from: text, to: name });
  return name;
}
