// What a .dockerignore leaves out of a build's context, as Docker itself decides it: patterns from the context's top, a folder takes all below it
// along, and the last pattern that fits wins. Pure. https://docs.docker.com/build/concepts/context/#dockerignore-files

/** Whether a path, relative to the context's top and without a leading `./`, is left out. */
export type Ignored = (path: string) => boolean;

/** More is nobody's intention, and each is tried on every file. */
const mostPatterns = 1000;

/** The patterns of a .dockerignore's text: without comments and empty lines. */
export function ignorePatterns(text: string): string[] {
  return text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.trim())
    .filter((line) => line !== "" && line !== "!");
}

/** Throws a RangeError for more than 1,000 patterns. A pattern that cannot be understood leaves nothing out, and takes nothing back. */
export function compileIgnore(patterns: readonly string[]): Ignored {
  if (patterns.length > mostPatterns) throw new RangeError(`more than ${mostPatterns} patterns`);
  const rules = patterns.flatMap((pattern) => {
    const negated = pattern.startsWith("!");
    const matcher = compilePattern(cleanPath(negated ? pattern.slice(1).trim() : pattern));
    return matcher === undefined ? [] : [{ negated, matcher }];
  });
  return (path) => {
    const prefixes = prefixesOf(path);
    let ignored = false;
    for (const { negated, matcher } of rules)
      if (ignored === negated && prefixes.some((prefix) => matcher.test(prefix))) ignored = !negated;
    return ignored;
  };
}

/** The path, and every folder above it. */
function prefixesOf(path: string): string[] {
  const parts = path.split("/");
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

/** As Go's filepath.Clean does, relative to the top. */
function cleanPath(pattern: string): string {
  const parts: string[] = [];
  for (const part of pattern.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** One sign of a pattern: a character that it stands for, any number of such, or any number of whole folders. */
type Sign =
  | { readonly type: "one"; readonly fits: (char: string) => boolean }
  | { readonly type: "many"; readonly fits: (char: string) => boolean }
  | { readonly type: "folders" };

/** The signs of Go's filepath.Match, and `**` for any number of folders. undefined for a pattern that is none. */
function compilePattern(pattern: string): Matcher | undefined {
  const signs: Sign[] = [];
  const chars = Array.from(pattern);
  for (let i = 0; i < chars.length; i += 1) {
    const char = chars[i] ?? "";
    if (char === "*" && chars[i + 1] === "*") {
      while (chars[i + 1] === "*") i += 1;
      if (chars[i + 1] === "/") i += 1;
      signs.push(i + 1 >= chars.length ? { type: "many", fits: () => true } : { type: "folders" });
    } else if (char === "*") signs.push({ type: "many", fits: (one) => one !== "/" });
    else if (char === "?") signs.push({ type: "one", fits: (one) => one !== "/" });
    else if (char === "[") {
      const end = classEnd(chars, i);
      const fits = end === undefined ? undefined : classOf(chars.slice(i + 1, end));
      if (end === undefined || fits === undefined) return undefined;
      signs.push({ type: "one", fits });
      i = end;
    } else {
      if (char === "\\") i += 1;
      const literal = chars[i] ?? "\\";
      signs.push({ type: "one", fits: (one) => one === literal });
    }
  }
  return signs.length === 0 ? undefined : { test: (path) => matches(signs, path) };
}

interface Matcher {
  test(path: string): boolean;
}

/** All places in the pattern that the path may have come to, character by character: whoever writes the pattern cannot make it slow. */
function matches(signs: readonly Sign[], path: string): boolean {
  let places = new Set<number>();
  // What may also match nothing is passed at once. `folders` matches nothing, or anything that ends with a slash.
  const reach = (into: Set<number>, place: number): void => {
    into.add(place);
    const sign = signs[place];
    if (sign !== undefined && sign.type !== "one" && !into.has(place + 1)) reach(into, place + 1);
  };
  reach(places, 0);
  // A `folders` that was entered and has not come to its slash.
  let inside = new Set<number>();
  for (const char of path) {
    const next = new Set<number>();
    const within = new Set<number>();
    for (const place of places) {
      const sign = signs[place];
      if (sign === undefined) continue;
      if (sign.type === "folders") inside.add(place);
      else if (sign.fits(char)) reach(next, sign.type === "many" ? place : place + 1);
    }
    for (const place of inside) {
      within.add(place);
      if (char === "/") reach(next, place + 1);
    }
    places = next;
    inside = within;
  }
  return places.has(signs.length);
}

/** The position of the bracket that closes the class which opens at `from`. */
function classEnd(chars: readonly string[], from: number): number | undefined {
  const first = from + (chars[from + 1] === "^" ? 2 : 1);
  for (let i = first; i < chars.length; i += 1) {
    if (chars[i] === "\\") i += 1;
    else if (chars[i] === "]" && i > first) return i;
  }
  return undefined;
}

/** What a class between brackets stands for; undefined when a range's ends are in the wrong order. */
function classOf(inner: readonly string[]): ((char: string) => boolean) | undefined {
  const negated = inner[0] === "^";
  const ranges: { readonly low: string; readonly high: string }[] = [];
  const signs = negated ? inner.slice(1) : inner;
  let i = 0;
  const take = (): string => {
    if (signs[i] === "\\") i += 1;
    const char = signs[i] ?? "\\";
    i += 1;
    return char;
  };
  while (i < signs.length) {
    const low = take();
    const ranged = signs[i] === "-" && i + 1 < signs.length;
    if (ranged) i += 1;
    const high = ranged ? take() : low;
    if (high < low) return undefined;
    ranges.push({ low, high });
  }
  return (char) => char !== "/" && ranges.some(({ low, high }) => low <= char && char <= high) !== negated;
}
