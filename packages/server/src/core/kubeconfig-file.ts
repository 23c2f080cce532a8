// A kubeconfig as a tree, and its entries by their names. Pure; the only exception that leaves it is its refusal.
import { parseDocument } from "yaml";

export type KubeconfigCode =
  | "too_large"
  | "not_yaml"
  | "not_a_kubeconfig"
  | "no_context"
  | "unknown_context"
  | "unknown_cluster"
  | "unknown_user"
  /** Two entries have the same name. */
  | "ambiguous"
  /** It names a file of the machine that it was written on. */
  | "names_a_file"
  /** It runs a program to sign in. */
  | "runs_a_program"
  /** auth-provider, proxy-url, impersonation, passwords. */
  | "not_supported"
  | "no_credentials"
  | "bad_value"
  | "bad_server"
  | "bad_certificate"
  | "bad_key"
  | "key_mismatch"
  /** insecure-skip-tls-verify. */
  | "insecure";

export interface KubeconfigRefusal {
  readonly code: KubeconfigCode;
  /** A sentence that names the entry, without its capital and its end. Nothing secret is in it. */
  readonly reason: string;
  readonly hint: string;
}

export type Fields = Readonly<Record<string, unknown>>;

/** Reading longer ones would hold up everyone else. */
const mostCharacters = 524_288;
const asWritten = "Give the file as `kubectl config view --minify --flatten` writes it.";

/** Ends the reading. */
export class Refused extends Error {
  readonly refusal: KubeconfigRefusal;
  constructor(refusal: KubeconfigRefusal) {
    super(refusal.reason);
    this.refusal = refusal;
  }
}

/** Throws Refused. */
export function refuse(code: KubeconfigCode, reason: string, hint: string): never {
  throw new Refused({ code, reason, hint });
}

/** The file's own fields. Throws Refused when it is no kubeconfig. */
export function parse(text: string): Fields {
  if (text.length > mostCharacters)
    refuse(
      "too_large",
      `it is longer than ${String(mostCharacters)} characters`,
      "Cut it down to one context: `kubectl config view --minify --flatten`.",
    );
  if (isDeep(text)) refuse("not_yaml", "it is nested too deeply to be read", asWritten);
  let file: unknown;
  try {
    // Whether keys are unique is not asked: the library compares each with each.
    const document = parseDocument(text, { version: "1.2", uniqueKeys: false, prettyErrors: false, logLevel: "error" });
    const [mistake] = document.errors;
    // What the library says of it may repeat a part of a key.
    if (mistake !== undefined) refuse("not_yaml", `it is not valid YAML near line ${String(lineAt(text, mistake.pos[0]))}`, asWritten);
    file = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    if (error instanceof Refused) throw error;
    refuse("not_yaml", "it is nested too deeply, or refers to itself too often, to be read", asWritten);
  }
  if (!isFields(file))
    refuse("not_a_kubeconfig", "it is no kubeconfig", "Give a file that begins with `apiVersion: v1` and `kind: Config`.");
  const kind = own(file, "kind");
  if (kind !== undefined && kind !== "Config")
    refuse(
      "not_a_kubeconfig",
      `it is ${typeof kind === "string" ? `a ${quote(kind)}` : "of another kind"}, no kubeconfig`,
      "Give a file with `kind: Config`.",
    );
  const version = own(file, "apiVersion");
  if (version !== undefined && version !== "v1")
    refuse("not_a_kubeconfig", "its apiVersion is not v1", "Give a file with `apiVersion: v1` and `kind: Config`.");
  if (!["clusters", "contexts", "users"].some((list) => Array.isArray(own(file, list))))
    refuse("not_a_kubeconfig", "it has neither clusters, nor contexts, nor users", "Give the whole file, as in ~/.kube/config.");
  return file;
}

/** The entry of a list that has the name. Throws Refused, with `unknown` when there is none. */
export function entryOf(file: Fields, list: string, field: string, name: string, unknown: KubeconfigCode): Fields {
  const entries = own(file, list);
  const found = (Array.isArray(entries) ? (entries as unknown[]) : []).filter((entry) => isFields(entry) && own(entry, "name") === name);
  if (found.length > 1) refuse("ambiguous", `${list} has ${quote(name)} more than once`, "Leave one of them.");
  const [entry] = found;
  if (!isFields(entry)) refuse(unknown, `${list} has no ${quote(name)}`, `It has: ${namesIn(file, list)}.`);
  const value = own(entry, field);
  if (!isFields(value)) refuse("bad_value", `${field} ${quote(name)} says nothing`, `Write what belongs to it below \`${field}:\`.`);
  return value;
}

/** For a hint; a few of them. */
export function namesIn(file: Fields, list: string): string {
  const entries = own(file, list);
  const names = (Array.isArray(entries) ? (entries as unknown[]) : []).map((entry) => (isFields(entry) ? own(entry, "name") : undefined));
  const texts = names.filter((name) => typeof name === "string").slice(0, 10);
  return texts.length === 0 ? "none" : texts.map(quote).join(", ");
}

/** undefined when it is absent, null or empty. */
export function textOf(entry: Fields, field: string, where: string): string | undefined {
  const value = own(entry, field);
  if (value == null || value === "") return undefined;
  if (typeof value !== "string") refuse("bad_value", `${field} of ${where} is no text`, "Put it in quotes.");
  return value;
}

/** What was in base64. */
export function dataOf(entry: Fields, field: string, where: string): string | undefined {
  const text = textOf(entry, field, where)?.replace(/\s+/g, "");
  if (text === undefined || text === "") return undefined;
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    refuse("bad_value", `${field} of ${where} is not base64`, "It is a PEM file in base64, in one line: `base64 -w0 FILE`.");
  return Buffer.from(text, "base64").toString("latin1");
}

/** Something stands there: even what is empty tells of another way to sign in. */
export function isGiven(entry: Fields, field: string): boolean {
  const value = own(entry, field);
  return value != null && value !== "" && !(Array.isArray(value) && value.length === 0);
}

/** What the file itself has there: never something that all objects inherit. */
export function own(fields: Fields, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** For a sentence: in one line, and not too long. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 79)}…` : name);
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

/** Deeper than any kubeconfig: the parser would work on it for seconds. Looks at brackets wherever they stand; a few in a text are no matter. */
function isDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "[" || char === "{") depth++;
    else if (char === "]" || char === "}") depth = Math.max(0, depth - 1);
    if (depth > 100) return true;
  }
  return /(?:[-?:][ \t]+){100}/.test(text);
}
