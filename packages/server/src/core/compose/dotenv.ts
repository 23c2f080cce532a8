// `.env` and env_file texts, read as Compose reads them. Bounded; must never throw.
// Source: the env_file chapter of the Compose specification; quirks were compared with its reference implementation.
import { interpolate, newBudget, type Budget, type Lookup } from "./interpolate.ts";

export type EnvFile =
  | { readonly ok: true; readonly values: ReadonlyMap<string, string> }
  | { readonly ok: false; readonly line: number; readonly reason: string; readonly hint: string };

const blanks = /[\t\v\f\r \u0085\u00a0]/;
const anySpace = /\s|\u0085/;
const keyCharacter = /[\p{L}\p{N}_.\-[\]]/u;

/**
 * Values may use variables: `lookup` is asked first, then what the file set above. Single quotes keep the text as it is, double quotes know
 * `\n`, `\"`, `\$` and their like, both may span lines; without quotes ` #` starts a comment. `KEY` alone takes over the caller's variable, if set.
 */
export function parseDotenv(
  text: string,
  lookup: Lookup,
  before: ReadonlyMap<string, string> = new Map(),
  budget: Budget = newBudget(),
): EnvFile {
  return new DotenvReader(text.startsWith("\ufeff") ? text.slice(1) : text, lookup, new Map(before), budget).read();
}

class DotenvReader {
  readonly #text: string;
  readonly #lookup: Lookup;
  readonly #values: Map<string, string>;
  readonly #budget: Budget;
  #index = 0;

  constructor(text: string, lookup: Lookup, values: Map<string, string>, budget: Budget) {
    this.#text = text;
    this.#lookup = lookup;
    this.#values = values;
    this.#budget = budget;
  }

  read(): EnvFile {
    while (this.#toStatement()) {
      const start = this.#index;
      const problem = this.#statement();
      if (problem !== undefined) return { ok: false, line: this.#text.slice(0, start).split("\n").length, ...problem };
    }
    return { ok: true, values: this.#values };
  }

  /** Skips blank space and comments; false at the end. */
  #toStatement(): boolean {
    for (;;) {
      while (anySpace.test(this.#text[this.#index] ?? "")) this.#index += 1;
      if (this.#text[this.#index] !== "#") return this.#index < this.#text.length;
      this.#index = this.#lineEnd();
    }
  }

  #statement(): { reason: string; hint: string } | undefined {
    const exported = /^export[\t\v\f\r \u0085\u00a0]+/.exec(this.#text.slice(this.#index, this.#index + 64))?.[0];
    if (exported !== undefined) this.#index += exported.length;
    const from = this.#index;
    while (this.#index < this.#text.length && !/[=:\n]/.test(this.#text[this.#index] ?? "")) {
      const character = String.fromCodePoint(this.#text.codePointAt(this.#index) ?? 0);
      if (!blanks.test(character) && !keyCharacter.test(character))
        return { reason: `\`${character}\` cannot be part of a variable's name`, hint: "Write one `NAME=value` a line." };
      this.#index += character.length;
    }
    const key = this.#text.slice(from, this.#index).trim();
    const separator = this.#text[this.#index];
    this.#index += 1;
    if (key === "") return { reason: "a variable's name is missing", hint: "Write one `NAME=value` a line." };
    if (key.includes(" ")) return { reason: `\`${key}\` contains a space`, hint: "Write one `NAME=value` a line." };
    if (separator !== "=" && separator !== ":") {
      const inherited = this.#lookup(key);
      if (inherited !== undefined) this.#values.set(key, inherited);
      return undefined;
    }
    while (blanks.test(this.#text[this.#index] ?? "")) this.#index += 1;
    const quote = this.#text[this.#index];
    return quote === '"' || quote === "'" ? this.#quoted(key, quote) : this.#unquoted(key);
  }

  #unquoted(key: string): { reason: string; hint: string } | undefined {
    const end = this.#lineEnd();
    const line = this.#text.slice(this.#index, end);
    this.#index = end + 1;
    const comment = line.indexOf(" #");
    return this.#set(key, (comment === -1 ? line : line.slice(0, comment)).trimEnd(), true);
  }

  #quoted(key: string, quote: string): { reason: string; hint: string } | undefined {
    const out: string[] = [];
    for (let index = this.#index + 1; index < this.#text.length; index += 1) {
      const character = this.#text[index] ?? "";
      if (character === quote) {
        this.#index = index + 1;
        const value = out.join("");
        return quote === "'" ? this.#set(key, value, false) : this.#set(key, unescape(value), true);
      }
      if (character !== "\\") {
        out.push(character);
        continue;
      }
      const next = this.#text[index + 1];
      if (next === undefined) break;
      out.push(next === quote ? quote : `\\${next}`);
      index += 1;
    }
    return { reason: `the value of ${key} has no closing ${quote}`, hint: `Add the closing ${quote}.` };
  }

  #set(key: string, value: string, expand: boolean): { reason: string; hint: string } | undefined {
    if (!expand) {
      this.#values.set(key, value);
      return undefined;
    }
    const result = interpolate(value, (name) => this.#lookup(name) ?? this.#values.get(name), this.#budget);
    if (!result.ok) return { reason: `${key}: ${result.reason}`, hint: result.hint };
    this.#values.set(key, result.text);
    return undefined;
  }

  #lineEnd(): number {
    const end = this.#text.indexOf("\n", this.#index);
    return end === -1 ? this.#text.length : end;
  }
}

const escapes: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  '"': '"',
  "\\": "\\",
  $: "$$",
};

/** `\$` becomes `$$`, so that interpolation leaves a dollar sign; an unknown escape stays as written. */
function unescape(text: string): string {
  return text.replace(/\\(?:([abcfnrtv$"\\])|0([0-7]{3}))/g, (all, letter: string | undefined, octal: string | undefined) => {
    if (octal !== undefined) return Number.parseInt(octal, 8) > 255 ? all : String.fromCharCode(Number.parseInt(octal, 8));
    return letter === undefined ? all : (escapes[letter] ?? all);
  });
}

/** `format: raw`: everything after the first `=` counts as it stands; `KEY` alone takes over the caller's variable. */
export function parseRawEnv(text: string, lookup: Lookup): EnvFile {
  const values = new Map<string, string>();
  const lines = (text.startsWith("\ufeff") ? text.slice(1) : text).split("\n");
  for (const [index, whole] of lines.entries()) {
    const line = (whole.endsWith("\r") ? whole.slice(0, -1) : whole).trimStart();
    if (line === "" || line.startsWith("#")) continue;
    const equals = line.indexOf("=");
    const key = equals === -1 ? line : line.slice(0, equals);
    if (key === "" || /\s/.test(key))
      return {
        ok: false,
        line: index + 1,
        reason: key === "" ? "a variable's name is missing" : `\`${key}\` contains a space`,
        hint: "Write one `NAME=value` a line.",
      };
    const value = equals === -1 ? lookup(key) : line.slice(equals + 1);
    if (value !== undefined) values.set(key, value);
  }
  return { ok: true, values };
}
