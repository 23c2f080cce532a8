// The rules of docs/architecture.md as data and small functions over the import graph. Pure; check-structure.ts reads the files and prints.
import type { Import, SourceFile } from "./graph.ts";
import { layers, pureModules, type LayerName } from "./layers.ts";
import { sharedStores } from "./exceptions.ts";

export interface Violation {
  readonly rule: string;
  readonly path: string;
  readonly line: number;
  readonly text: string;
}

/** A rule, with how many things it looked at: a rule that looked at nothing is broken itself. */
export interface Outcome {
  readonly rule: string;
  readonly looked: number;
  readonly violations: readonly Violation[];
}

type Rule = (files: readonly SourceFile[]) => Outcome;

/** Tests, and what only tests use, may reach anything. */
export function isTest(path: string): boolean {
  return /\.test\.ts$|\.testkit\.ts$|\.bench\.ts$|\/testing\/|^packages\/[a-z]+\/test\/|conformance|^e2e\/|^bench\/|^tools\//.test(path);
}

export function layerOf(path: string): LayerName | undefined {
  return (Object.keys(layers) as LayerName[]).find((name) => layers[name].where.test(path));
}

function outcome(rule: string, looked: number, violations: readonly Violation[]): Outcome {
  return { rule, looked, violations };
}

/** Every source file belongs to a layer, so that no new folder escapes the rules. */
const everyFileHasALayer: Rule = (files) => {
  const own = files.filter((file) => file.path.startsWith("packages/") && !isTest(file.path));
  return outcome(
    "layers",
    own.length,
    own
      .filter((file) => layerOf(file.path) === undefined)
      .map((file) => ({ rule: "layers", path: file.path, line: 1, text: "belongs to no layer; tools/structure/layers.ts has the list" })),
  );
};

/** Imports go only in the directions of docs/architecture.md. */
const directions: Rule = (files) => {
  let looked = 0;
  const violations: Violation[] = [];
  for (const file of files) {
    const from = layerOf(file.path);
    if (from === undefined || isTest(file.path)) continue;
    for (const entry of file.imports) {
      if (entry.target === undefined) continue;
      looked++;
      const to = layerOf(entry.target);
      if (isTest(entry.target)) violations.push(at("directions", file, entry, `imports ${entry.target}, which is only for tests`));
      else if (to !== undefined && to !== from && !layers[from].mayImport.includes(to))
        violations.push(at("directions", file, entry, `${from} may not import ${to} (${entry.target})`));
    }
  }
  return outcome("directions", looked, violations);
};

/** An import of our own that leads nowhere is a typing mistake that only a bundler would find. */
const targetsExist: Rule = (files) => {
  const known = new Set(files.map((file) => file.path));
  const own = files
    .flatMap((file) => file.imports.map((entry) => ({ file, entry })))
    .filter(({ entry }) => entry.target?.endsWith(".ts") === true && !entry.target.includes("fixtures"));
  return outcome(
    "targets",
    own.length,
    own
      .filter(({ entry }) => !known.has(entry.target ?? ""))
      .map(({ file, entry }) => at("targets", file, entry, `${entry.specifier} is not there`)),
  );
};

/** Core does no I/O: only these parts of Node.js and npm, and no clock, chance or environment. */
const corePurity: Rule = (files) => {
  const core = files.filter((file) => layerOf(file.path) === "core" && !isTest(file.path));
  const violations = core.flatMap((file) => [
    ...file.imports
      .filter((entry) => entry.target === undefined && !isPure(entry))
      .map((entry) => at("core-purity", file, entry, `core may not use ${entry.specifier} (${entry.names.join(", ")})`)),
    ...file.clockReads.map((line) => ({
      rule: "core-purity",
      path: file.path,
      line,
      text: "core may not read the clock, chance or the network; take it as an argument",
    })),
  ]);
  return outcome("core-purity", core.length, violations);
};

function isPure(entry: Import): boolean {
  const allowed = pureModules[entry.specifier];
  return allowed === "all" || (allowed !== undefined && entry.names.every((name) => allowed.includes(name)));
}

/** The contract runs in a browser: nothing of Node.js, and no package but its schema library. */
const contractIsBrowserSafe: Rule = (files) => {
  const contract = files.filter((file) => layerOf(file.path) === "contract" && !isTest(file.path));
  return outcome(
    "contract",
    contract.length,
    contract.flatMap((file) =>
      file.imports
        .filter((entry) => entry.target === undefined && !/^typebox(\/|$)/.test(entry.specifier))
        .map((entry) => at("contract", file, entry, `the contract may not use ${entry.specifier}`)),
    ),
  );
};

/** The environment is read in one file of each program. */
const environment: Rule = (files) => {
  const own = files.filter((file) => file.path.startsWith("packages/") && !isTest(file.path));
  return outcome(
    "environment",
    own.filter((file) => file.envReads.length > 0).length,
    own
      .filter((file) => !/\/config\.ts$/.test(file.path) && !file.path.includes("/edge/agent/static/"))
      .flatMap((file) =>
        file.envReads.map((line) => ({ rule: "environment", path: file.path, line, text: "process.env is read only in config.ts" })),
      ),
  );
};

/** Engines know nothing of each other. What those with an agent have in common is a folder of its own. */
const enginesApart: Rule = (files) => {
  const engine = (path: string | undefined): string | undefined => /^packages\/server\/src\/engines\/([^/]+)\//.exec(path ?? "")?.[1];
  const own = files.filter((file) => engine(file.path) !== undefined && !isTest(file.path));
  return outcome(
    "engines-apart",
    own.length,
    own.flatMap((file) =>
      file.imports
        .filter((entry) => ![undefined, "agent", engine(file.path)].includes(engine(entry.target)))
        .map((entry) => at("engines-apart", file, entry, `one engine may not import another (${entry.target})`)),
    ),
  );
};

const resourceOf = (path: string | undefined): { name: string; file: string } | undefined => {
  const found = /^packages\/server\/src\/resources\/([^/]+)\/(.+)$/.exec(path ?? "");
  return found?.[1] === undefined || found[2] === undefined ? undefined : { name: found[1], file: found[2] };
};

/** Inside a resource: routes -> service -> store. Types may be shared downwards. */
const insideResources: Rule = (files) => {
  const rank = (file: string): number | undefined => ({ "routes.ts": 2, "service.ts": 1, "store.ts": 0 })[file];
  const violations: Violation[] = [];
  let looked = 0;
  for (const file of files) {
    const from = resourceOf(file.path);
    if (from === undefined || isTest(file.path)) continue;
    looked++;
    for (const entry of file.imports) {
      const to = resourceOf(entry.target);
      if (to === undefined || entry.typeOnly) continue;
      const [upper, lower] = [rank(from.file), rank(to.file)];
      if (to.file === "routes.ts") violations.push(at("resources", file, entry, "nothing below http imports routes"));
      else if (from.name === to.name && upper !== undefined && lower !== undefined && lower > upper)
        violations.push(at("resources", file, entry, `${from.file} may not import ${to.file}`));
      else if (from.file === "routes.ts" && to.file === "store.ts")
        violations.push(at("resources", file, entry, "routes reach the store through the service"));
    }
  }
  return outcome("resources", looked, violations);
};

/** Another resource is reached through its service; a store of another only where one transaction has to span both, and listed. */
const acrossResources: Rule = (files) => {
  const used = new Set<string>();
  const violations: Violation[] = [];
  let looked = 0;
  for (const file of files) {
    const from = resourceOf(file.path);
    if (from === undefined || isTest(file.path)) continue;
    for (const entry of file.imports) {
      const to = resourceOf(entry.target);
      if (to === undefined || to.name === from.name || entry.typeOnly) continue;
      looked++;
      if (to.file !== "store.ts") continue;
      const pair = `${from.name} -> ${to.name}`;
      used.add(pair);
      if (!sharedStores.has(pair))
        violations.push(at("across-resources", file, entry, `${from.name} reaches ${to.name} through its service, not its store`));
    }
  }
  for (const pair of sharedStores.keys()) {
    if (!used.has(pair))
      violations.push({
        rule: "across-resources",
        path: "tools/structure/exceptions.ts",
        line: 1,
        text: `${pair} is not needed any more: remove it`,
      });
  }
  return outcome("across-resources", looked, violations);
};

/** A file that only re-exports hides where things are. */
const noBarrels: Rule = (files) =>
  outcome(
    "barrels",
    files.length,
    files
      .filter((file) => file.onlyReexports)
      .map((file) => ({ rule: "barrels", path: file.path, line: 1, text: "only re-exports; import from where it is" })),
  );

/** No file is reached from itself, not even through types. */
const noCycles: Rule = (files) => {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const state = new Map<string, "open" | "done">();
  const violations: Violation[] = [];
  const walk = (file: SourceFile, trail: readonly string[]): void => {
    state.set(file.path, "open");
    for (const entry of file.imports) {
      const next = byPath.get(entry.target ?? "");
      if (next === undefined) continue;
      if (state.get(next.path) === "open") {
        const loop = [...trail.slice(trail.indexOf(next.path)), next.path];
        violations.push(at("cycles", file, entry, `imports itself: ${loop.join(" -> ")}`));
      } else if (state.get(next.path) === undefined) {
        walk(next, [...trail, next.path]);
      }
    }
    state.set(file.path, "done");
  };
  for (const file of files) if (state.get(file.path) === undefined) walk(file, [file.path]);
  return outcome("cycles", files.length, violations);
};

function at(rule: string, file: SourceFile, entry: Import, text: string): Violation {
  return { rule, path: file.path, line: entry.line, text };
}

const rules: readonly Rule[] = [
  everyFileHasALayer,
  directions,
  targetsExist,
  corePurity,
  contractIsBrowserSafe,
  environment,
  enginesApart,
  insideResources,
  acrossResources,
  noBarrels,
  noCycles,
];

/** All rules over all files; a rule that found nothing to look at is itself a violation. */
export function checkAll(files: readonly SourceFile[]): Outcome[] {
  return rules
    .map((rule) => rule(files))
    .map((result) =>
      result.looked > 0
        ? result
        : {
            ...result,
            violations: [
              ...result.violations,
              { rule: result.rule, path: "tools/structure/rules.ts", line: 1, text: `the rule \`${result.rule}\` looked at nothing` },
            ],
          },
    );
}
