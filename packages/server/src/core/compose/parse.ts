// YAML text to a tree with positions. Bounded in depth and alias expansion; must never throw, whatever the text.
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseAllDocuments, parseDocument, type Node, type Pair } from "yaml";
import type { Findings } from "./findings.ts";
import { nullScalar, type Entry, type Mapping, type MergeTag, type Position, type Scalar, type Tree } from "./tree.ts";

/** Of all Compose files of a project together: reading them holds up everyone else for up to some 5 ms per 1,000 characters. */
export const mostCharacters = 262_144;
/** Mistakes in the YAML of one file that are told: each may lead to the next. */
const mostMistakes = 20;
/** Nodes of one file after its aliases are written out. */
const mostNodes = 100_000;
const deepest = 64;

/** The file's documents, in order; undefined when there is a problem. */
export function parseYaml(file: string, text: string, findings: Findings): Mapping[] | undefined {
  const start: Position = { file, line: 1, column: 1 };
  const lines = new LineCounter();
  const parsed = parseDocuments(text, lines);
  if (parsed === undefined) {
    findings.invalid(start, { key: "", reason: "it is nested too deeply to be read", hint: "" });
    return undefined;
  }
  const reader = new TreeReader(file, lines, findings);
  for (const error of parsed.flatMap((document) => document.errors).slice(0, mostMistakes)) {
    findings.invalid(reader.position(error.pos[0]), {
      key: "",
      reason: `this is not valid YAML: ${firstLine(error.message)}`,
      hint: hintFor(error.code),
    });
  }
  if (parsed.some((document) => document.errors.length > 0)) return undefined;
  const trees = parsed.map((document) => (document.contents === null ? undefined : reader.read(document.contents, 0)));
  if (reader.failed) return undefined;
  return asMappings(
    trees.filter((tree) => tree !== undefined),
    start,
    findings,
  );
}

function asMappings(trees: readonly Tree[], start: Position, findings: Findings): Mapping[] | undefined {
  const mappings = trees.filter((tree) => tree.type === "mapping");
  const other = trees.find((tree) => tree.type !== "mapping" && !(tree.type === "scalar" && tree.value === null));
  if (other !== undefined) {
    findings.invalid(other.at, {
      key: "",
      reason: "a Compose file is a mapping with `services:` at its top",
      hint: "Start with `services:`.",
    });
    return undefined;
  }
  if (mappings.length > 0) return mappings;
  findings.invalid(start, { key: "", reason: "it is empty", hint: "Start with `services:`." });
  return undefined;
}

function parseDocuments(
  text: string,
  lines: LineCounter,
): { contents: Node | null; errors: readonly { code: string; message: string; pos: [number, number] }[] }[] | undefined {
  try {
    // Whether keys are unique is checked below: the library compares each with each.
    const options = { version: "1.2", merge: true, uniqueKeys: false, prettyErrors: false, logLevel: "silent" } as const;
    return [...parseAllDocuments(text, { ...options, lineCounter: lines })];
  } catch (error) {
    // The parser recurses into nested collections; running out of stack is the text's fault and an answer, not a crash.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

class TreeReader {
  failed = false;
  readonly #file: string;
  readonly #lines: LineCounter;
  readonly #findings: Findings;
  readonly #anchors = new Map<string, Node>();
  readonly #done = new Map<Node, Tree>();
  readonly #open = new Set<Node>();
  /** Nodes in a tree with shared parts counted each time they appear: what walking it will cost. */
  readonly #sizes = new WeakMap<Tree, number>();

  constructor(file: string, lines: LineCounter, findings: Findings) {
    this.#file = file;
    this.#lines = lines;
    this.#findings = findings;
  }

  position(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.#file, line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  read(node: Node, depth: number): Tree {
    const at = this.position(node.range?.[0] ?? 0);
    if (this.failed) return nullScalar(at);
    if (depth > deepest) return this.#fail(at, `it is nested more than ${deepest} levels deep`);
    if (isAlias(node)) return this.#alias(node.source, at);
    if ("anchor" in node && typeof node.anchor === "string") this.#anchors.set(node.anchor, node);
    this.#open.add(node);
    const tree = this.#convert(node, at, depth);
    this.#open.delete(node);
    this.#done.set(node, tree);
    return tree;
  }

  #alias(name: string, at: Position): Tree {
    const target = this.#anchors.get(name);
    if (target === undefined) return this.#fail(at, `there is no anchor \`&${name}\` before this alias`);
    if (this.#open.has(target)) return this.#fail(at, `the alias \`*${name}\` contains itself`);
    return this.#done.get(target) ?? nullScalar(at);
  }

  #convert(node: Node, at: Position, depth: number): Tree {
    const tag = mergeTag(node.tag);
    if (isScalar(node)) return this.#sized(scalar(node, at, tag), 1);
    if (isSeq(node)) {
      const items = node.items.map((item) => this.read(item as Node, depth + 1)).filter((item) => item.tag !== "reset");
      return this.#sized({ type: "sequence", items, at, tag }, this.#total(items));
    }
    if (isMap(node)) {
      const entries = this.#entries(node.items as Pair<unknown, unknown>[], depth);
      return this.#sized({ type: "mapping", entries, at, tag }, this.#total([...entries.values()].map((entry) => entry.value)));
    }
    return nullScalar(at);
  }

  #entries(pairs: readonly Pair<unknown, unknown>[], depth: number): Map<string, Entry> {
    const own = new Map<string, Entry>();
    const merged = new Map<string, Entry>();
    for (const { key, value } of pairs) {
      const node = key as Node | null;
      const keyAt = this.position(node?.range?.[0] ?? 0);
      const tree = value === null || value === undefined ? nullScalar(keyAt) : this.read(value as Node, depth + 1);
      if (isScalar(node) && typeof node.value === "symbol") this.#mergeKey(tree, merged);
      else if (isScalar(node)) this.#own(own, { key: String(node.value), keyAt, value: tree });
      else this.#fail(keyAt, "a key has to be a plain word");
    }
    // A key of the mapping itself wins over merged ones, wherever it stands.
    return new Map([...[...merged].filter(([key]) => !own.has(key)), ...own]);
  }

  #own(entries: Map<string, Entry>, entry: Entry): void {
    const { key, keyAt } = entry;
    const first = entries.get(key);
    if (first === undefined) entries.set(key, entry);
    else this.#fail(keyAt, `\`${key.slice(0, 100)}\` is there twice, first in line ${first.keyAt.line}`, "Keep one of the two.");
  }

  /** `<<: *a` or `<<: [*a, *b]`; the earlier one wins. */
  #mergeKey(tree: Tree, into: Map<string, Entry>): void {
    const sources = tree.type === "sequence" ? tree.items : [tree];
    for (const source of sources) {
      if (source.type !== "mapping") {
        this.#fail(source.at, "`<<` merges mappings, and this is none");
        return;
      }
      for (const [key, entry] of source.entries) if (!into.has(key)) into.set(key, entry);
    }
  }

  #total(parts: readonly Tree[]): number {
    return parts.reduce((sum, part) => sum + (this.#sizes.get(part) ?? 1), 1);
  }

  #sized<T extends Tree>(tree: T, size: number): T | Scalar {
    if (size > mostNodes) return this.#fail(tree.at, `with its aliases written out it has more than ${mostNodes} values`);
    this.#sizes.set(tree, size);
    return tree;
  }

  #fail(at: Position, reason: string, hint = ""): Scalar {
    if (!this.failed) this.#findings.invalid(at, { key: "", reason, hint });
    this.failed = true;
    return nullScalar(at);
  }
}

function mergeTag(tag: string | undefined): MergeTag | undefined {
  return tag === "!reset" ? "reset" : tag === "!override" ? "override" : undefined;
}

function scalar(
  node: { value: unknown; source?: string | undefined; type?: string | undefined },
  at: Position,
  tag: MergeTag | undefined,
): Scalar {
  // Under an unknown tag the parser takes a plain scalar for text; what it would have been without the tag counts.
  const value = tag === "override" && node.type === "PLAIN" ? untagged(node.source ?? "") : node.value;
  if (tag === "reset") return { ...nullScalar(at), tag };
  if (typeof value === "string" || typeof value === "boolean") return { type: "scalar", value, text: String(value), at, tag };
  if (typeof value === "number") return { type: "scalar", value, text: numberText(value, node.source), at, tag };
  return { ...nullScalar(at), tag };
}

function untagged(source: string): unknown {
  const { contents } = parseDocument(source);
  return isScalar(contents) ? contents.value : source;
}

/** As Go prints it, which is what Compose does: shortest form, exponent from 1e21 up and below 1e-4. Whole numbers stay exact at any length. */
function numberText(value: number, source: string | undefined): string {
  if (source !== undefined && /^(?:0|-?[1-9][0-9]*)$/.test(source)) return source;
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : value < 0 ? "-Inf" : "NaN";
  if (Number.isInteger(value) && size < 1e21) return BigInt(value).toString();
  const plainText = String(value);
  if (size >= 1e-4 && size < 1e21) return plainText;
  return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
}

function firstLine(message: string): string {
  return message.split("\n", 1)[0]?.replace(/[.:]\s*$/, "") ?? message;
}

function hintFor(code: string): string {
  switch (code) {
    case "TAB_AS_INDENT":
      return "Indent with spaces; YAML allows no tabs.";
    case "BAD_INDENT":
      return "Give keys of one level the same indentation.";
    case "MISSING_CHAR":
      return "Close what was opened, or put the text in quotes.";
    default:
      return "";
  }
}
