// Messages over a stream, one a line. Whoever sends them may be killed in the middle of one: what is not a whole line was never said.
import type { Readable } from "node:stream";

/** Calls `hear` with each whole line, without its end. */
export function onLines(stream: Readable, hear: (line: string) => void): void {
  // Pieces of a line whose end has not come: a long one comes in many.
  let begun: string[] = [];
  stream.setEncoding("utf8").on("data", (text: string) => {
    const [first = "", ...more] = text.split("\n");
    begun.push(first);
    const rest = more.pop();
    if (rest === undefined) return;
    const whole = [begun.join(""), ...more];
    begun = [rest];
    for (const line of whole) hear(line);
  });
}
