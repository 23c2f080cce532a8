// Each ecosystem's way of writing a version, as a semver range. A pin to a full version is read as its release line: a patch release more or
// less on the machine is no reason to refuse a build. Must never guess: what is not understood gives undefined.
import semver from "semver";

/** How a tool's releases are compatible: within a major (Node.js 20.x) or within a minor version (Python 3.12.x). */
export type Line = "major" | "minor";

/** A pinned version (`v20.11.1`, `ruby-3.2.2`, `temurin-21.0.2+13`, `3.12`) as the range of its release line. */
export function rangeOfPin(text: string, line: Line): string | undefined {
  const match = /^(?:[A-Za-z][A-Za-z._]*[-@])*v?(\d{1,9})(?:\.(\d{1,9}))?(?:[._](\d{1,9}))?(?:[-+._a-z][\w.+-]*)?$/.exec(text.trim());
  if (match === null) return undefined;
  const [, major, minor] = match;
  return line === "major" || minor === undefined ? `${Number(major)}.x` : `${Number(major)}.${Number(minor)}.x`;
}

/** npm's ranges; `latest`, `stable` and the like mean any version. */
export function rangeOfNpm(text: string): string | undefined {
  if (/^(?:latest|stable|current|node|lts(?:\/.*)?|system)$/.test(text.trim())) return "*";
  return checked(text);
}

/** Python's specifiers (PEP 440): `>=3.9,<4`, `~=3.11`, `==3.11.*`. */
export function rangeOfPep440(text: string): string | undefined {
  const parts: string[] = [];
  for (const part of text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "")) {
    const match = /^(~=|===?|!=|<=?|>=?)\s*v?(\d+(?:\.\d+)*)(\.\*)?$/.exec(part);
    if (match === null) return undefined;
    const [, operator = "", version = "", wild] = match;
    if (operator === "!=") continue;
    if (operator === "~=") parts.push(pessimistic(version));
    else if (operator.startsWith("==")) parts.push(wild === undefined ? (rangeOfPin(version, "minor") ?? version) : `${version}.x`);
    else parts.push(`${operator}${version}`);
  }
  return checked(parts.join(" ") || "*");
}

/** Poetry mixes npm's carets with PEP 440. */
export function rangeOfPoetry(text: string): string | undefined {
  return /[\^]|~(?!=)/.test(text) || !/[<>=!~]/.test(text) ? checked(text.replaceAll(",", " ").replaceAll("==", "=")) : rangeOfPep440(text);
}

/** Composer: `^8.2`, `~8.1.0`, `>=8.1 <8.4`, `8.2.*`, joined by `|`, `||`, commas or spaces; `~8.1` allows up to 9. */
export function rangeOfComposer(text: string): string | undefined {
  const alternatives = text.split(/\|\|?/).map((item) =>
    item
      .trim()
      .replaceAll(/@\w+/g, "")
      .replaceAll(",", " ")
      .replaceAll(/(?<![\w.])~\s*(\d+\.\d+)(?![.\d])/g, "^$1")
      .replaceAll(/!=\s*\S+/g, " ")
      .trim(),
  );
  return checked(alternatives.map((item) => item || "*").join(" || "));
}

/** Ruby's requirements: `~> 3.2`, `>= 3.1, < 3.4`, `3.2.2`. */
export function rangeOfRuby(parts: readonly string[]): string | undefined {
  const ranges = parts.map((part) => {
    const match = /^(~>|>=|<=|>|<|=|!=)?\s*(\d+(?:\.\d+)*)(?:[.-]?(?:p|preview|rc)\d+)?$/.exec(part.trim());
    if (match === null) return undefined;
    const [, operator = "", version = ""] = match;
    if (operator === "!=") return "*";
    if (operator === "~>") return pessimistic(version);
    return operator === "" || operator === "=" ? rangeOfPin(version, "minor") : `${operator}${version}`;
  });
  return ranges.includes(undefined) || ranges.length === 0 ? undefined : checked(ranges.join(" "));
}

/** `3.2` -> at least that and below the next major; `3.2.1` -> below the next minor. */
function pessimistic(version: string): string {
  const parts = version.split(".").map(Number);
  const [major = 0, minor = 0] = parts;
  return parts.length <= 2 ? `>=${version} <${major + 1}` : `>=${parts.slice(0, 3).join(".")} <${major}.${minor + 1}`;
}

/** The text itself, when semver understands it. */
function checked(text: string): string | undefined {
  const range = text.trim();
  return range.length <= 200 && semver.validRange(range) !== null ? range || "*" : undefined;
}

/** Whether no version satisfies both. */
export function disjoint(a: string, b: string): boolean {
  return !semver.intersects(a, b);
}
