// One line of the key table: a key of a Compose file and its class. Data only.

/** `honoured`: has the effect that Compose gives it, or the one in `text`. `harmless`: understood, has no effect here; `text` says what Berth does instead. `refused`: `text` is the reason. */
export type KeyClass = "honoured" | "harmless" | "refused";
export interface KeyRule {
  readonly key: string;
  readonly class: KeyClass;
  readonly text: string;
  /** For a refused key: what to do instead. */
  readonly hint?: string;
  /** Values of a refused or harmless key that ask for what Berth does anyway; nothing is said about them. */
  readonly fine?: readonly (string | boolean)[];
}

export const honoured = (key: string, text: string): KeyRule => ({ key, class: "honoured", text });
export const harmless = (key: string, text: string, fine?: KeyRule["fine"]): KeyRule => ({
  key,
  class: "harmless",
  text,
  ...(fine === undefined ? {} : { fine }),
});
export const refused = (key: string, text: string, hint: string, fine?: KeyRule["fine"]): KeyRule => ({
  key,
  class: "refused",
  text,
  hint,
  ...(fine === undefined ? {} : { fine }),
});
