// `extends:`: a service that starts from another one, of this file or of another, and says only what differs.
import type { Environment } from "./input.ts";
import { openDocuments, type Loading } from "./documents.ts";
import { merge, mergeMappings, withoutTags, type MergeOptions } from "./merge.ts";
import { folderOf } from "./paths.ts";
import { nearest } from "../nearest.ts";
import { get, mapping, withoutEntry, type Entry, type Mapping, type Scalar, type Tree } from "./tree.ts";

interface Services {
  readonly file: string;
  readonly services: Mapping;
  readonly done: Map<string, Entry>;
}

/** The file with every service written out. Their own `!reset` and `!override` stay, since the file may still be merged over others. */
export function applyExtends(file: Mapping, path: string, environment: Environment, loading: Loading): Mapping {
  const services = get(file, "services");
  if (services?.type !== "mapping") return file;
  const world: Services = { file: path, services, done: new Map() };
  const others = new Map<string, Services | undefined>();
  const extender = new Extender(environment, loading, others);
  const entries = [...services.entries.values()].map((entry) => extender.service(entry, world, []));
  const old = file.entries.get("services");
  return old === undefined
    ? file
    : {
        ...file,
        entries: new Map(file.entries).set("services", { ...old, value: { ...mapping(entries, services.at), tag: services.tag } }),
      };
}

class Extender {
  readonly #environment: Environment;
  readonly #loading: Loading;
  readonly #others: Map<string, Services | undefined>;

  constructor(environment: Environment, loading: Loading, others: Map<string, Services | undefined>) {
    this.#environment = environment;
    this.#loading = loading;
    this.#others = others;
  }

  /** `trail` holds `file#service` of those that are being written out, to find circles. */
  service(entry: Entry, world: Services, trail: readonly string[]): Entry {
    const known = world.done.get(entry.key);
    if (known !== undefined) return known;
    const written = this.#write(entry, world, [...trail, `${world.file}#${entry.key}`]);
    world.done.set(entry.key, written);
    return written;
  }

  #write(entry: Entry, world: Services, trail: readonly string[]): Entry {
    const { value } = entry;
    const reference = get(value, "extends");
    if (value.type !== "mapping" || reference === undefined) return entry;
    const own = withoutEntry(value, "extends");
    const target = this.#target(reference, entry.key, world);
    if (target === undefined) return { ...entry, value: own };
    const { base, name, from } = target;
    if (trail.includes(`${from.file}#${name}`)) {
      this.#complain(
        reference,
        entry.key,
        `services extend each other in a circle: ${[...trail, `${from.file}#${name}`].map((step) => step.slice(step.indexOf("#") + 1)).join(" -> ")}`,
        "Take one of these `extends` out.",
      );
      return { ...entry, value: own };
    }
    const parent = withoutTags(this.service(base, from, trail).value);
    const options: MergeOptions = { findings: this.#loading.findings, budget: this.#loading.entries, keepTags: true };
    return { ...entry, value: merge(parent, own, ["services", entry.key], options) ?? own };
  }

  #target(reference: Tree, service: string, world: Services): { base: Entry; name: string; from: Services } | undefined {
    const name = reference.type === "scalar" ? reference : get(reference, "service");
    if (reference.type === "mapping") {
      for (const key of reference.entries.values())
        if (key.key !== "service" && key.key !== "file")
          this.#complain(
            { ...reference, at: key.keyAt },
            service,
            `\`${key.key}\` is not known in \`extends\``,
            "It has service and file.",
          );
    }
    if (name?.type !== "scalar" || typeof name.value !== "string") {
      this.#complain(reference, service, "`extends` names no service", "Write `extends: { service: NAME }`.");
      return undefined;
    }
    const file = get(reference, "file");
    if (file !== undefined && file.type !== "scalar") {
      this.#complain(file, service, "`file` is one path", "Write `extends: { file: other.yaml, service: NAME }`.");
      return undefined;
    }
    if (name.uncertain === true || file?.uncertain === true) return undefined;
    const from = file === undefined || file.text === world.file ? world : this.#open(file);
    if (from === undefined) return undefined;
    const base = from.services.entries.get(name.text);
    if (base !== undefined) return { base, name: name.text, from };
    const close = nearest(name.text, [...from.services.entries.keys()]);
    this.#complain(
      name,
      service,
      `there is no service ${name.text} in ${from.file} to extend`,
      close === undefined ? "" : `Did you mean ${close}?`,
    );
    return undefined;
  }

  #open(file: Scalar): Services | undefined {
    const path = file.text;
    if (this.#others.has(path)) return this.#others.get(path);
    const documents = openDocuments(path, file.at, this.#environment, folderOf(path), this.#loading);
    const options: MergeOptions = { findings: this.#loading.findings, budget: this.#loading.entries, keepTags: false };
    const tree = documents?.reduce((merged, document) => mergeMappings(merged, document, [], options));
    const services = get(tree, "services");
    const opened =
      tree === undefined
        ? undefined
        : { file: path, services: services?.type === "mapping" ? services : mapping([], tree.at), done: new Map<string, Entry>() };
    this.#others.set(path, opened);
    return opened;
  }

  #complain(tree: Tree, service: string, reason: string, hint: string): void {
    this.#loading.findings.invalid(tree.at, { key: "extends", component: service, reason, hint });
  }
}
