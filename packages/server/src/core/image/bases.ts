// The base images that an installation can make by itself: what each is made of, how it is called, and how what was made stands in the catalogue. Pure.
import type { Catalogue, RuntimeBase, RuntimeName } from "./catalogue.ts";
import { publicCatalogue } from "./catalogue.ts";
import type { Packages } from "./packages.ts";

/** What comes from this machine's Berth instead of a Debian package: its own Node.js, and the npm that belongs to it. */
export type OwnProgram = "node" | "npm";

export interface BaseRecipe {
  readonly name: string;
  /** For people. */
  readonly summary: string;
  /** undefined: the operating system, on which the others are made. */
  readonly runtime?: RuntimeName;
  /** Debian packages, without what they only recommend. */
  readonly run: readonly string[];
  /** What only builds need, on top of `run`. */
  readonly build: readonly string[];
  /** Put into both images. */
  readonly own?: readonly OwnProgram[];
  /** Built programs need no more than the operating system: there is one image, for builds. */
  readonly onlyBuilds?: true;
  /** Where the release line (`12`, `3.11`) is in the version of a package, or of an own program. */
  readonly line: { readonly of: string; readonly pattern: RegExp };
  readonly env?: Readonly<Record<string, string>>;
  readonly buildEnv?: Readonly<Record<string, string>>;
  readonly beside?: RuntimeBase["beside"];
}

const compilers = ["g++", "gcc", "libc6-dev", "make"];

/** Debian's own versions; Node.js is the one that Berth runs on, because Debian's are out of support before Debian is (decision 27). */
export const baseRecipes: readonly BaseRecipe[] = [
  {
    name: "debian",
    summary: "the operating system, with certificates and time zones",
    run: ["ca-certificates", "tzdata"],
    build: [],
    line: { of: "base-files", pattern: /^(\d+)/ },
  },
  {
    name: "node",
    summary: "Node.js and npm; for builds with git, Python and compilers for native modules",
    runtime: "node",
    run: [],
    build: [...compilers, "git", "python3"],
    own: ["node", "npm"],
    line: { of: "node", pattern: /^(\d+)/ },
    beside: { copy: ["/usr/local/bin", "/usr/local/lib/node_modules"] },
  },
  {
    name: "python",
    summary: "Python; for builds with pip, venv and compilers",
    runtime: "python",
    run: ["python3", "python-is-python3"],
    build: [...compilers, "git", "python3-dev", "python3-pip", "python3-venv"],
    line: { of: "python3", pattern: /^(\d+\.\d+)/ },
    // Debian asks people not to mix pip's packages with its own on a machine that lives for years; an image is made anew instead.
    buildEnv: { PIP_BREAK_SYSTEM_PACKAGES: "1" },
    beside: { packages: ["python3"] },
  },
  {
    name: "go",
    summary: "Go's compiler, for builds; programs run on the operating system",
    runtime: "go",
    run: [],
    build: ["gcc", "git", "golang-go", "libc6-dev"],
    onlyBuilds: true,
    line: { of: "golang-go", pattern: /^(?:\d+:)?(\d+\.\d+)/ },
  },
  {
    name: "java",
    summary: "OpenJDK without what draws windows; for builds with its compiler",
    runtime: "java",
    run: ["default-jre-headless"],
    build: ["default-jdk-headless", "git"],
    line: { of: "default-jre-headless", pattern: /^(?:\d+:)?1\.(\d+)/ },
    env: { JAVA_HOME: "/usr/lib/jvm/default-java" },
  },
];

/** An image of a base that was made here. */
export interface MadeImage {
  readonly reference: string;
  readonly id: string;
  /** Digests of what its layers hold, lowest first: an image that begins with them was built on it. */
  readonly layers: readonly string[];
  readonly size: number;
}

/** One version of a base that was made here. */
export interface MadeBase {
  readonly name: string;
  readonly runtime?: RuntimeName | undefined;
  readonly line: string;
  readonly version: string;
  /** RFC 3339. */
  readonly madeAt: string;
  /** What it was made by; another one asks for a new version though no package changed. */
  readonly recipe: string;
  /** The operating system's image below it; undefined for that itself. */
  readonly on?: string | undefined;
  readonly build: MadeImage;
  readonly run?: MadeImage | undefined;
  readonly packages: Packages;
  readonly beside?: RuntimeBase["beside"] | undefined;
}

/** `localhost` is nobody's registry: a daemon that lost such an image can pull no stranger's in its place. */
const repository = "localhost/berth-base";

/** `localhost/berth-base/node:24-20261122.1`, and with `-run` the one that programs run in. */
export function baseReference(
  base: { readonly name: string; readonly line: string; readonly version: string },
  use: "build" | "run",
): string {
  return `${repository}/${base.name}:${base.line}-${base.version}${use === "run" ? "-run" : ""}`;
}

/** `20261122.2`: the day, and which one of that day; `taken` are those that there are. */
export function nextVersion(now: Date, taken: readonly string[]): string {
  const day = now.toISOString().slice(0, 10).replaceAll("-", "");
  const numbers = taken.flatMap((version) => (version.startsWith(`${day}.`) ? Number(version.slice(day.length + 1)) : []));
  return `${day}.${String(Math.max(0, ...numbers) + 1)}`;
}

/** The newest version of each base, in the order of the recipes' names; `made` is in the order in which they were made. */
export function currentBases(made: readonly MadeBase[]): MadeBase[] {
  return [...new Map(made.map((base) => [base.name, base])).values()];
}

/** The part of a catalogue that config.json names. */
export type GivenCatalogue = Partial<Catalogue>;

/**
 * The catalogue of an installation: what config.json says, then what was made here, then what the makers of each runtime publish. A list in config.json takes the makers' place
 * as a whole. A runtime that was made here is taken from here alone, so that nothing is pulled for a version that nobody chose.
 */
export function catalogueOf(given: GivenCatalogue, made: readonly MadeBase[]): Catalogue {
  const current = currentBases(made);
  const own = current.flatMap((base): RuntimeBase[] =>
    base.runtime === undefined
      ? []
      : [
          {
            runtime: base.runtime,
            version: base.line,
            build: base.build.reference,
            ...(base.run === undefined ? {} : { run: base.run.reference }),
            ...(base.beside === undefined ? {} : { beside: base.beside }),
          },
        ],
  );
  const { runtimes } = given;
  const system = current.find(({ runtime }) => runtime === undefined)?.build.reference;
  return {
    os: given.os ?? system ?? publicCatalogue.os,
    ...(given.os === undefined && system !== undefined ? { osCertificates: true } : {}),
    runtimes:
      runtimes === undefined
        ? [...own, ...publicCatalogue.runtimes.filter(({ runtime }) => !own.some((one) => one.runtime === runtime))]
        : [...runtimes, ...own.filter((base) => !runtimes.some((one) => one.runtime === base.runtime && one.version === base.version))],
    tools: given.tools ?? publicCatalogue.tools,
  };
}

/** Whether an image with these layers was built on that one. */
export function isBuiltOn(layers: readonly string[], base: MadeImage): boolean {
  return base.layers.length > 0 && base.layers.every((layer, index) => layers[index] === layer);
}

/** When the newest of these images was made here, ms since 1970; undefined when none was. */
export function newestOf(references: readonly string[], made: readonly MadeBase[]): number | undefined {
  const times = made
    .filter(({ build, run }) => references.includes(build.reference) || (run !== undefined && references.includes(run.reference)))
    .map(({ madeAt }) => Date.parse(madeAt));
  return times.length === 0 ? undefined : Math.max(...times);
}
