// Finds a sentence in the catalogue of the chosen language and fills its holes. Never throws for a missing translation: English is always there.
import { UsageError } from "../failure.ts";
import { en, type TextKey } from "./en.ts";

export type Say = (key: TextKey, params?: Readonly<Record<string, string | number>>) => string;
type Catalogue = Readonly<Partial<Record<TextKey, string>>>;
const languages: Readonly<Record<string, Catalogue>> = { en };

/** `language` as in --lang or BERTH_LANG: `en`, `en-GB`, `en_US.UTF-8`. */
export function sayIn(language: string | undefined): Say {
  const wanted = (language ?? "en").split(/[-_.]/)[0]?.toLowerCase() ?? "en";
  const catalogue = languages[wanted];
  if (catalogue === undefined)
    throw new UsageError(
      fill(en.lang_unknown, { lang: language ?? "" }),
      fill(en.lang_known, { known: Object.keys(languages).join(", ") }),
    );
  return (key, params = {}) => fill(catalogue[key] ?? en[key], params);
}

function fill(template: string, params: Readonly<Record<string, string | number>>): string {
  return template.replace(/\{(\w+)\}/g, (hole, name: string) => (name in params ? String(params[name]) : hole));
}
