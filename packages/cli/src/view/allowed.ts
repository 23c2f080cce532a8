// Which verbs the caller may use now, and why the others are not.
import { reasonsEn, type Allowed } from "@berth/contract/route.ts";

/** One line of verbs, then a line per verb that is not possible; undefined when the object names none. */
export function allowedText(allowed: Allowed): string | undefined {
  const entries = Object.entries(allowed);
  if (entries.length === 0) return undefined;
  const open = entries.filter(([, { ok }]) => ok).map(([verb]) => verb);
  const closed = entries
    .filter(([, { ok }]) => !ok)
    .map(
      ([verb, { reason }]) =>
        `not ${verb}: ${reason === undefined ? "not now" : filled(reasonsEn[reason.code] ?? reason.code, reason.params)}`,
    );
  return [open.length === 0 ? "nothing now" : open.join(", "), ...closed].join("\n");
}

function filled(template: string, params: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (hole, name: string) => params[name] ?? hole);
}
