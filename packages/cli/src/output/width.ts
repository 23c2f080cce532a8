// How many columns a text takes on a terminal, and cutting it to fit. Never changes what a text says except by cutting its end.
import { stripVTControlCharacters } from "node:util";

const segments = new Intl.Segmenter(undefined, { granularity: "grapheme" });
// Unicode's East Asian Wide and Fullwidth blocks, and pictographs, in the ranges that matter on terminals.
const wide =
  /[\u1100-\u115f\u231a\u231b\u2329\u232a\u23e9-\u23ec\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const nothing = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}]+$/u;
const plain = /^[\x20-\x7e]*$/;

/** Columns that `text` takes; escape sequences take none. */
export function widthOf(text: string): number {
  if (plain.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segments.segment(stripVTControlCharacters(text))) width += graphemeWidth(segment);
  return width;
}

/** `text` in at most `width` columns, with `…` where its end was cut. Escape sequences are taken out when it has to be cut. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  if (width < 1) return "";
  let kept = "";
  let used = 0;
  for (const { segment } of segments.segment(stripVTControlCharacters(text))) {
    const next = graphemeWidth(segment);
    if (used + next > width - 1) break;
    kept += segment;
    used += next;
  }
  return `${kept}…`;
}

/** `text` with spaces after it (before it, when `right`) up to `width` columns. */
export function padded(text: string, width: number, right = false): string {
  const space = " ".repeat(Math.max(0, width - widthOf(text)));
  return right ? space + text : text + space;
}

/** Text that cannot move the cursor, set a title or ring: for what programs printed and we show in our own layout. */
export function oneLine(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\t/g, "  ")
    .replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, "");
}

/** A log line for a terminal: its colours stay, every other control sequence goes. */
export function safeLine(text: string): string {
  const parts = text.split(/(\x1b\[[0-9;]*m)/);
  const coloured = parts.length > 1;
  return (
    parts
      .map((part, index) => (index % 2 === 1 ? part : stripVTControlCharacters(part).replace(/[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]/g, "")))
      .join("") + (coloured ? "\x1b[0m" : "")
  );
}

/** Words of `text` in lines of at most `width` columns, each after `indent`. */
export function wrapped(text: string, width: number, indent = ""): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      const longer = line === "" ? word : `${line} ${word}`;
      if (line !== "" && widthOf(indent) + widthOf(longer) > width) {
        lines.push(indent + line);
        line = word;
      } else line = longer;
    }
    lines.push(indent + line);
  }
  return lines;
}

function graphemeWidth(segment: string): number {
  if (nothing.test(segment)) return 0;
  return wide.test(segment) || segment.includes("\ufe0f") ? 2 : 1;
}
