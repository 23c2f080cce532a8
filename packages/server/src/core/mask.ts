// Takes secret values out of text before anyone can read it. Must be used before a text is cut, or half a secret could stay.

export interface Mask {
  /** The text with every secret value replaced by `***`. */
  (text: string): string;
  /** Length of the longest text that the mask knows: so much at the end of a cut text may be the start of a secret. */
  readonly longest: number;
}

/** Below this a value is so common in other words that only whole words are masked. */
const shortest = 4;

/** A mask for these values, for each line of a value that has several, and for their percent- and base64-encoded forms. */
export function createMask(values: readonly string[]): Mask {
  const words = new Set<string>();
  for (const value of values) {
    for (const part of [value, ...value.split(/\r?\n/)]) {
      const text = part.trim();
      if (text === "") continue;
      words.add(text);
      if (text.length < shortest) continue;
      words.add(encodeURIComponent(text.toWellFormed()));
      const encoded = Buffer.from(text).toString("base64").replace(/=+$/, "");
      if (encoded.length >= 8) words.add(encoded);
    }
  }
  if (words.size === 0) return Object.assign((text: string) => text, { longest: 0 });
  const sorted = [...words].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(
    sorted.map((word) => (word.length < shortest ? `(?<![A-Za-z0-9_])${escaped(word)}(?![A-Za-z0-9_])` : escaped(word))).join("|"),
    "g",
  );
  return Object.assign((text: string) => text.replace(pattern, "***"), { longest: sorted[0]?.length ?? 0 });
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
