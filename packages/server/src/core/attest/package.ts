// One piece of software in an artifact, whoever says so, and its package URL. Pure.
// https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst

/** A type of package URLs. */
export type Ecosystem = "deb" | "apk" | "npm" | "pypi" | "golang" | "cargo" | "composer" | "gem" | "maven" | "generic";

export interface SoftwarePackage {
  readonly ecosystem: Ecosystem;
  /** As its ecosystem writes it: `@scope/name`, `group:name` of Maven, `vendor/name` of Composer. */
  readonly name: string;
  readonly version: string;
  /** Which file said so, or what else did. */
  readonly from: string;
  /** Only for development: it may be missing in the artifact. */
  readonly dev?: true;
  /** Of the operating system's packages. */
  readonly architecture?: string;
}

/** The operating system of an image, as os-release names it. */
export interface OperatingSystem {
  readonly id: string;
  readonly version: string;
  readonly pretty: string;
}

/** `os`: whose packages those of the operating system are. */
export function purlOf(one: SoftwarePackage, os: OperatingSystem | undefined): string {
  const version = written(one.version);
  const of = (path: string, qualifiers: Readonly<Record<string, string | undefined>> = {}): string => {
    const more = Object.entries(qualifiers).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${written(value)}`]));
    return `pkg:${one.ecosystem}/${path}@${version}${more.length === 0 ? "" : `?${more.join("&")}`}`;
  };
  switch (one.ecosystem) {
    case "deb":
    case "apk": {
      const distro = os === undefined ? undefined : `${os.id}-${os.version}`;
      return of(`${written(os?.id ?? (one.ecosystem === "deb" ? "debian" : "alpine"))}/${written(one.name)}`, {
        arch: one.architecture,
        distro,
      });
    }
    case "pypi":
      return of(written(one.name.toLowerCase().replaceAll(/[-_.]+/g, "-")));
    case "maven":
      return of(one.name.split(":").map(written).join("/"));
    case "golang":
    case "composer":
      return of(one.name.toLowerCase().split("/").map(written).join("/"));
    case "npm":
    case "cargo":
    case "gem":
    case "generic":
      return of(one.name.split("/").map(written).join("/"));
    default:
      return one.ecosystem satisfies never;
  }
}

const written = (text: string): string => encodeURIComponent(text).replaceAll("%3A", ":");

/** Each once, in the order of their names; one that is needed beside development is no package of development. */
export function eachOnce(packages: readonly SoftwarePackage[]): SoftwarePackage[] {
  const found = new Map<string, SoftwarePackage>();
  for (const one of packages) {
    const key = `${one.ecosystem} ${one.name} ${one.version} ${one.architecture ?? ""}`;
    const known = found.get(key);
    if (known === undefined || (known.dev === true && one.dev !== true)) found.set(key, one);
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, one]) => one);
}
