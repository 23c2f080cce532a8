// What the caller hands in, and how the mapping asks for more: files by content and variables by name, never by looking itself.
import type { Findings } from "./findings.ts";
import { parseDotenv } from "./dotenv.ts";
import type { Lookup } from "./interpolate.ts";

export interface ComposeInput {
  /** Project-relative path -> text: Compose files, `.env`, env_files, files of secrets and configs. */
  readonly files: Readonly<Record<string, string>>;
  /** In override order; empty = the names that Compose looks for. */
  readonly composeFiles: readonly string[];
  /** Paths that the caller looked for and did not find. */
  readonly absent: readonly string[];
  /** The caller's shell environment as far as it was asked for; null = not set there. */
  readonly variables: Readonly<Record<string, string | null>>;
  readonly profiles: readonly string[];
  readonly engine: { readonly kind: "local" | "docker" | "kubernetes" };
}

export type FileState = { readonly state: "there"; readonly text: string } | { readonly state: "absent" } | { readonly state: "asked" };

/** The caller's files; one that was neither sent nor looked for is asked for. */
export class Files {
  readonly #input: ComposeInput;
  readonly #absent: ReadonlySet<string>;
  readonly #findings: Findings;

  constructor(input: ComposeInput, findings: Findings) {
    this.#input = input;
    this.#absent = new Set(input.absent);
    this.#findings = findings;
  }

  open(path: string): FileState {
    const text = Object.hasOwn(this.#input.files, path) ? this.#input.files[path] : undefined;
    if (typeof text === "string") return { state: "there", text };
    if (this.#absent.has(path)) return { state: "absent" };
    this.#findings.neededFiles.add(path);
    return { state: "asked" };
  }
}

/** Variables for interpolation: the caller's shell wins over `.env` files, an earlier one of them over a later. */
export class Environment {
  readonly #variables: ComposeInput["variables"];
  readonly #findings: Findings;
  readonly #layers: readonly ReadonlyMap<string, string>[];

  constructor(variables: ComposeInput["variables"], findings: Findings, layers: readonly ReadonlyMap<string, string>[] = []) {
    this.#variables = variables;
    this.#findings = findings;
    this.#layers = layers;
  }

  /** undefined = not set, or not known yet: then it is asked for. */
  lookup(name: string): string | undefined {
    const own = Object.hasOwn(this.#variables, name) ? this.#variables[name] : undefined;
    if (typeof own === "string") return own;
    if (own === undefined) this.#findings.neededVariables.add(name);
    return this.#layers.find((layer) => layer.has(name))?.get(name);
  }

  /** Whether the caller has answered for this name. */
  knows(name: string): boolean {
    return Object.hasOwn(this.#variables, name);
  }

  /** With the values of one more `.env` below everything that is known already. */
  with(layer: ReadonlyMap<string, string>): Environment {
    return new Environment(this.#variables, this.#findings, [...this.#layers, layer]);
  }
}

/** Reads `.env` texts in order, the later over the earlier; problems are reported at their line. */
export function readDotenvs(
  files: readonly { readonly path: string; readonly text: string }[],
  lookup: Lookup,
  findings: Findings,
): ReadonlyMap<string, string> {
  let values: ReadonlyMap<string, string> = new Map();
  for (const { path, text } of files) {
    const parsed = parseDotenv(text, lookup, values);
    if (parsed.ok) values = parsed.values;
    else findings.invalid({ file: path, line: parsed.line, column: 1 }, { key: "", reason: parsed.reason, hint: parsed.hint });
  }
  return values;
}
