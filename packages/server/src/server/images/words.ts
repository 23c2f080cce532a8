// What `berth images` says. Pure.
import { currentBases, type MadeBase } from "../../core/image/bases.ts";
import type { Catalogue } from "../../core/image/catalogue.ts";
import type { PackageChanges } from "../../core/image/packages.ts";
import type { RunningImage } from "./running.ts";

export interface ListedImage {
  /** `debian` for the operating system, else the runtime. */
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly run: string;
  readonly from: "config.json" | "made here" | "its makers";
  readonly madeAt?: string;
  /** Components that run on an older version of it. */
  readonly behind: readonly string[];
}

/** `shop/web` */
export function nameOf({ stack, component }: RunningImage): string {
  return `${stack}/${component}`;
}

/** In the order in which builds look for them. `behind` tells for a base that was made here who runs on an older version. */
export function listImages(
  catalogue: Catalogue,
  made: readonly MadeBase[],
  behind: (base: MadeBase) => readonly RunningImage[],
): ListedImage[] {
  const current = currentBases(made);
  const entry = (name: string, version: string, build: string, run: string): ListedImage => {
    const base = current.find((one) => one.build.reference === build);
    const published = base === undefined && /^(?:debian|node|python|golang|eclipse-temurin|php|ruby|rust):/.test(build);
    return {
      name,
      version: base === undefined ? version : `${base.line}-${base.version}`,
      build,
      run,
      from: base !== undefined ? "made here" : published ? "its makers" : "config.json",
      ...(base === undefined ? {} : { madeAt: base.madeAt }),
      behind: base === undefined ? [] : [...new Set(behind(base).map(nameOf))],
    };
  };
  return [
    entry("os", "", catalogue.os, catalogue.os),
    ...catalogue.runtimes.map(({ runtime, version, build, run }) => entry(runtime, version, build, run ?? catalogue.os)),
  ];
}

/** A table without borders. */
export function imagesTable(rows: readonly ListedImage[]): string {
  const cells = [
    ["RUNTIME", "VERSION", "FROM", "BUILDS IN", "RUNS IN", "BEHIND"],
    ...rows.map(({ name, version, build, run, from, behind }) => [
      name,
      version === "" ? "-" : version,
      from,
      build,
      run === build ? "the same" : run,
      behind.length === 0 ? "-" : behind.join(", "),
    ]),
  ];
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)));
  return cells.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd().concat("\n")).join("");
}

/** One line for each package that is different. */
export function changeLines({ added, removed, changed }: PackageChanges): string[] {
  return [
    ...changed.map(({ name, from, to }) => `${name} ${from} -> ${to}`),
    ...added.map(({ name, version }) => `${name} ${version} (new)`),
    ...removed.map(({ name, version }) => `${name} ${version} (removed)`),
  ];
}

/** `174 MB` */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
