// Hides secret values in text. Pure; works on whole lines, so that a value that arrived in two pieces is found all the same.

/** Shorter values are not masked: they would blank out ordinary words, and protect nothing. */
export const shortestSecret = 4;
export const masked = "***";

export interface Mask {
  apply(text: string): string;
  /** Bytes of the longest form that is looked for; 0 = nothing to hide. */
  readonly longest: number;
  /** Where text of raw bytes may be cut at or before `at` without cutting through a value. */
  cutBefore(bytes: Buffer, at: number): number;
  /** Whether these bytes end in the beginning of a value, which the next bytes may complete. */
  endsInside(bytes: Buffer): boolean;
}

/** Each value as it is, as JSON and as a part of a URL; of values with several lines each line, since logs come by the line. */
function formsOf(values: readonly string[]): string[] {
  const forms = new Set<string>();
  for (const value of values) {
    const lines = value.split(/\r?\n/).map((line) => line.trim());
    for (const form of [value, ...lines, JSON.stringify(value).slice(1, -1), encodeURIComponent(value.toWellFormed())]) {
      // A short line of a long value is not a secret by itself: `}` or `-----` would be masked everywhere.
      if (form.length >= (form === value ? shortestSecret : 8)) forms.add(form);
    }
  }
  return [...forms].sort((a, b) => b.length - a.length);
}

export function createMask(values: readonly string[]): Mask {
  const forms = formsOf(values);
  if (forms.length === 0) return { apply: (text) => text, longest: 0, cutBefore: (_bytes, at) => at, endsInside: () => false };
  const any = new RegExp(forms.map((form) => form.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|"), "g");
  const raw = forms.map((form) => Buffer.from(form));
  return {
    apply: (text) => text.replace(any, masked),
    longest: Math.max(...raw.map((form) => form.length)),
    cutBefore: (bytes, at) => {
      let cut = at;
      for (const form of raw) {
        const start = bytes.subarray(0, at + form.length - 1).indexOf(form, Math.max(0, at - form.length + 1));
        if (start >= 0 && start < cut && start + form.length > at) cut = start;
      }
      return cut;
    },
    endsInside: (bytes) =>
      raw.some((form) => {
        for (let length = Math.min(form.length - 1, bytes.length); length > 0; length -= 1)
          if (bytes.subarray(bytes.length - length).equals(form.subarray(0, length))) return true;
        return false;
      }),
  };
}
