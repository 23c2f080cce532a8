// Reads package.json into what detection asks of it. Tolerant of what npm tolerates; it must never throw on odd content.
import { dig, digList, digText, digTexts, isFields, readJson, type Fields, type Look } from "./source.ts";

export interface Package {
  readonly name: string | undefined;
  readonly main: string | undefined;
  readonly scripts: ReadonlyMap<string, string>;
  readonly dependencies: ReadonlyMap<string, string>;
  readonly devDependencies: ReadonlyMap<string, string>;
  readonly optionalDependencies: ReadonlyMap<string, string>;
  readonly engines: ReadonlyMap<string, string>;
  /** `pnpm@9.1.0+sha512...`, as written. */
  readonly packageManager: string | undefined;
  readonly volta: ReadonlyMap<string, string>;
  /** Globs of member folders; undefined when it is no workspace. */
  readonly workspaces: readonly string[] | undefined;
  readonly raw: Fields;
}

export type ReadPackage = { readonly ok: true; readonly value: Package } | { readonly ok: false; readonly reason: string };

export function readPackage(look: Look): ReadPackage | undefined {
  const parsed = readJson(look, "package.json");
  if (parsed === undefined || !parsed.ok) return parsed;
  return { ok: true, value: packageOf(parsed.value) };
}

export function packageOf(raw: Fields): Package {
  const workspaces = dig(raw, "workspaces");
  return {
    name: digText(raw, "name"),
    main: digText(raw, "main"),
    scripts: digTexts(raw, "scripts"),
    dependencies: digTexts(raw, "dependencies"),
    devDependencies: digTexts(raw, "devDependencies"),
    optionalDependencies: digTexts(raw, "optionalDependencies"),
    engines: digTexts(raw, "engines"),
    packageManager: digText(raw, "packageManager"),
    volta: digTexts(raw, "volta"),
    workspaces: Array.isArray(workspaces)
      ? digList(raw, "workspaces")
      : isFields(workspaces)
        ? digList(raw, "workspaces", "packages")
        : undefined,
    raw,
  };
}

export function dependsOn(pkg: Package, name: string): boolean {
  return pkg.dependencies.has(name) || pkg.devDependencies.has(name) || pkg.optionalDependencies.has(name);
}

export function allDependencies(pkg: Package): [string, string][] {
  return [...pkg.dependencies, ...pkg.optionalDependencies, ...pkg.devDependencies];
}

/** Scripts that a package manager runs by itself around an install: their outcome depends on more than the manifests. */
export function installScripts(pkg: Package): string[] {
  return ["preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare"].filter((name) => pkg.scripts.has(name));
}

/** `file:`, `link:`, `portal:` and path dependencies are part of the source, not of the lockfile. */
export function localDependencies(pkg: Package): string[] {
  return allDependencies(pkg)
    .filter(([, range]) => /^(?:file:|link:|portal:|workspace:|\.{0,2}\/|~\/)/.test(range))
    .map(([name]) => name);
}
