// Reads where a machine's Debian packages come from (sources.list(5), both formats) and keeps what a base image is made from: Debian's own suites of one release. Pure.

export interface AptSource {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
  /** A path of a keyring, or a key in itself; undefined: every key that the machine trusts. */
  readonly signedBy?: string;
  readonly trusted?: true;
}

/** Entries for binary packages; what is disabled or cannot be read as one is left out. */
export function readAptSources(text: string, format: "list" | "deb822"): AptSource[] {
  return format === "list" ? text.split("\n").flatMap(readLine) : readParagraphs(text);
}

/** `deb [signed-by=/path arch=amd64] URI SUITE COMPONENT...` */
function readLine(line: string): AptSource[] {
  const found = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
  if (found === null) return [];
  const [, options = "", uri = "", suite = "", components = ""] = found;
  const option = (name: string): string | undefined => new RegExp(`(?:^|\\s)${name}=(\\S+)`).exec(options)?.[1];
  return [sourceOf(uri, suite, components.split(/\s+/).filter(notEmpty), option("signed-by"), option("trusted"))];
}

function readParagraphs(text: string): AptSource[] {
  return text
    .replaceAll(/^#.*\n?/gm, "")
    .split(/\n\s*\n/)
    .flatMap((paragraph) => {
      const fields = fieldsOf(paragraph);
      const words = (name: string): string[] => (fields.get(name) ?? "").split(/\s+/).filter(notEmpty);
      if (!words("types").includes("deb") || fields.get("enabled")?.toLowerCase() === "no") return [];
      return words("uris").flatMap((uri) =>
        words("suites").map((suite) => sourceOf(uri, suite, words("components"), fields.get("signed-by"), fields.get("trusted"))),
      );
    });
}

/** Names in lower case; a value goes on in lines that begin with a space. */
function fieldsOf(paragraph: string): Map<string, string> {
  const fields = new Map<string, string>();
  let last = "";
  for (const line of paragraph.split("\n")) {
    const found = /^([A-Za-z][A-Za-z0-9-]*):\s*(.*)$/.exec(line);
    if (found !== null) {
      last = (found[1] ?? "").toLowerCase();
      fields.set(last, found[2]?.trim() ?? "");
    } else if (/^\s/.test(line) && last !== "") fields.set(last, `${fields.get(last) ?? ""}\n${line.trimEnd()}`);
  }
  return fields;
}

function sourceOf(uri: string, suite: string, components: string[], signedBy: string | undefined, trusted: string | undefined): AptSource {
  return {
    uri,
    suite: suite === "/" || suite === "./" ? suite : suite.replace(/\/$/, ""),
    components,
    ...(signedBy === undefined || signedBy === "" ? {} : { signedBy }),
    ...(trusted?.toLowerCase() === "yes" ? { trusted: true } : {}),
  };
}

const notEmpty = (word: string): boolean => word !== "";

/** Those of a Debian release and its updates, only their free part. Other makers who use the release's name sign with keys of their own. */
export function debianSources(all: readonly AptSource[], codename: string): AptSource[] {
  return all.flatMap((source) => {
    const known = [codename, `${codename}-updates`, `${codename}-security`, `${codename}/updates`].includes(source.suite);
    const ownKey = source.signedBy === undefined || /debian-archive/.test(source.signedBy) || source.signedBy.includes("BEGIN PGP");
    return known && ownKey && source.components.includes("main") ? [{ ...source, components: ["main"] }] : [];
  });
}

/** As apt reads it. */
export function writeAptSources(sources: readonly AptSource[]): string {
  return sources
    .map(({ uri, suite, components, signedBy, trusted }) =>
      [
        "Types: deb",
        `URIs: ${uri}`,
        `Suites: ${suite}`,
        ...(components.length === 0 ? [] : [`Components: ${components.join(" ")}`]),
        ...(signedBy === undefined ? [] : [`Signed-By: ${signedBy}`]),
        ...(trusted === undefined ? [] : ["Trusted: yes"]),
      ].join("\n"),
    )
    .join("\n\n")
    .concat("\n");
}
