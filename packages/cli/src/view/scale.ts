// What `berth scale` was told: `3`, or `web=3 worker=2`.
import { UsageError } from "../failure.ts";

export function parseScale(words: readonly string[]): { readonly component: string | undefined; readonly count: number }[] {
  const wanted = words.map((word) => {
    const [, component, count] = /^(?:([a-z][a-z0-9-]*)=)?(\d{1,4})$/.exec(word) ?? [];
    if (count === undefined)
      throw new UsageError(`\`${word}\` is not a number of instances.`, "For example `berth scale 3 -c web` or `berth scale web=3`.");
    return { component, count: Number(count) };
  });
  if (wanted.filter(({ component }) => component === undefined).length > 1)
    throw new UsageError("There are several numbers for one component.", "Name each: `berth scale web=3 worker=2`.");
  return wanted;
}
