// The variables of a container as a stack keeps them: what is written in the pod's template becomes part of the definition, what comes from ConfigMaps becomes config, and what
// comes from Secrets becomes secrets of the stack. Pure.
import { contentHash } from "../canonical.ts";
import type { Tree } from "../overlay/merge.ts";
import { note, type Foreign, type ImportNote } from "./foreign.ts";

interface Reference {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean;
}
interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly configMapKeyRef?: Reference; readonly secretKeyRef?: Reference };
}
interface Source {
  readonly prefix?: string;
  readonly configMapRef?: { readonly name: string; readonly optional?: boolean };
  readonly secretRef?: { readonly name: string; readonly optional?: boolean };
}

export interface ImportedEnvironment {
  /** As the template says them. */
  readonly literals: Readonly<Record<string, string>>;
  /** From ConfigMaps. */
  readonly config: Readonly<Record<string, string>>;
  /** Variable -> the secret of the stack that it becomes. */
  readonly secrets: Readonly<Record<string, { readonly secret: string; readonly value: string }>>;
  /** Those that the cluster fills in, in its own words. */
  readonly others: readonly Tree[];
  readonly refusals: readonly ImportNote[];
}

const listIn = <T>(container: Tree, key: string): readonly T[] => (container[key] ?? []) as readonly T[];

/** Names of the ConfigMaps and Secrets that a container takes variables from. */
export function sourcesOf(container: Tree): { readonly configMaps: readonly string[]; readonly secrets: readonly string[] } {
  const from = listIn<Source>(container, "envFrom");
  const env = listIn<Variable>(container, "env");
  const named = (all: readonly ({ readonly name: string } | undefined)[]): string[] => [...new Set(all.flatMap((one) => one?.name ?? []))];
  return {
    configMaps: named([...from.map((one) => one.configMapRef), ...env.map((one) => one.valueFrom?.configMapKeyRef)]),
    secrets: named([...from.map((one) => one.secretRef), ...env.map((one) => one.valueFrom?.secretKeyRef)]),
  };
}

const variableName = /^[A-Za-z_][A-Za-z0-9_]{0,254}$/;

/** `path`: where the container stands in its object. What is named twice counts as the cluster counts it: the last wins, and `env` before `envFrom`. */
export function environmentOf(container: Tree, path: string, { configMaps, secrets }: Foreign): ImportedEnvironment {
  const found = new Map<string, { readonly kind: "literal" | "config" | "secret"; readonly value: string; readonly secret?: string }>();
  const others = new Map<string, Tree>();
  const refusals: ImportNote[] = [];
  const refuse = (where: string, reason: string): void => void refusals.push(note("import_field", { path: `${path}.${where}`, reason }));
  const missing = (where: string, kind: string, name: string): void => refuse(where, `there is no ${kind} ${name}`);

  for (const [index, { prefix = "", configMapRef, secretRef }] of listIn<Source>(container, "envFrom").entries()) {
    const ref = configMapRef ?? secretRef;
    const data = configMapRef === undefined ? secrets[secretRef?.name ?? ""] : configMaps[configMapRef.name];
    const where = `envFrom[${String(index)}]`;
    if (ref === undefined) refuse(where, "it names no ConfigMap and no Secret");
    else if (data === undefined && ref.optional !== true) missing(where, configMapRef === undefined ? "Secret" : "ConfigMap", ref.name);
    for (const [key, value] of Object.entries(data ?? {})) {
      const name = `${prefix}${key}`;
      if (!variableName.test(name)) refuse(`${where}.${key}`, "a variable cannot have this name in Berth");
      else if (configMapRef !== undefined) found.set(name, { kind: "config", value });
      else found.set(name, { kind: "secret", value, secret: secretName(secretRef?.name ?? "", key) });
    }
  }
  for (const variable of listIn<Variable>(container, "env")) {
    const { name, value, valueFrom } = variable;
    const where = `env[${name}]`;
    found.delete(name);
    others.delete(name);
    const { configMapKeyRef, secretKeyRef } = valueFrom ?? {};
    const ref = configMapKeyRef ?? secretKeyRef;
    if (!variableName.test(name)) refuse(where, "a variable cannot have this name in Berth");
    else if (valueFrom === undefined) {
      // Kubernetes puts other variables in its place; in Berth a text is what it says.
      if (/(?<!\$)\$\(\w+\)/.test(value ?? "")) refuse(where, "it is made of other variables, by $(NAME)");
      else found.set(name, { kind: "literal", value: (value ?? "").replaceAll("$$(", () => "$(") });
    } else if (ref === undefined) others.set(name, { ...variable });
    else {
      const text = (configMapKeyRef === undefined ? secrets : configMaps)[ref.name]?.[ref.key];
      if (text !== undefined)
        found.set(
          name,
          configMapKeyRef === undefined
            ? { kind: "secret", value: text, secret: secretName(ref.name, ref.key) }
            : { kind: "config", value: text },
        );
      else if (ref.optional !== true)
        missing(where, configMapKeyRef === undefined ? "Secret key" : "ConfigMap key", `${ref.name}/${ref.key}`);
    }
  }
  const ofKind = (kind: "literal" | "config"): Record<string, string> =>
    Object.fromEntries([...found].flatMap(([name, one]) => (one.kind === kind ? [[name, one.value]] : [])));
  return {
    literals: ofKind("literal"),
    config: ofKind("config"),
    secrets: Object.fromEntries(
      [...found].flatMap(([name, { kind, secret = "", value }]) => (kind === "secret" ? [[name, { secret, value }]] : [])),
    ),
    others: [...others.values()],
    refusals,
  };
}

/** A Secret's key as the name of a secret of a stack: readable, and one that no other key becomes. */
export function secretName(secret: string, key: string): string {
  const plain = `${secret}-${key}`;
  const name = plain
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^[^a-z]+|-+$/g, "");
  if (name === plain && name.length <= 40) return name;
  const whole = name === "" ? "secret" : name;
  return `${whole.slice(0, 31).replace(/-+$/, "")}-${contentHash([secret, key]).slice("sha256:".length, "sha256:".length + 8)}`;
}
