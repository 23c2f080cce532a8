// Cuts comments out of foreign texts. Linear in their length, whatever they hold: sources come from strangers and are read in the control plane.

/** Without what stands between the marks; an opening mark that is never closed is left as it is. */
export function withoutBlocks(text: string, open: string, close: string): string {
  const kept: string[] = [];
  let from = 0;
  for (;;) {
    const start = text.indexOf(open, from);
    const end = start < 0 ? -1 : text.indexOf(close, start + open.length);
    if (end < 0) return [...kept, text.slice(from)].join(" ");
    kept.push(text.slice(from, start));
    from = end + close.length;
  }
}

/** Without the comments of JavaScript, Groovy and Kotlin; `//` counts only after a space or at a line's start, since addresses have it too. */
export function withoutComments(text: string): string {
  return withoutBlocks(text, "/*", "*/").replaceAll(/(^|[\s;,{])\/\/[^\n]*/g, "$1");
}
