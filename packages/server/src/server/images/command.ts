// `berth images` on the command line: arguments in, words and exit code out. It works on the server's own machine, whether the server runs or not; a server that runs
// finds the new catalogue by itself. What is done is in builders/bases/make.ts.
import { mkdirSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { makeBases, type MakingEvent, type MakingOutcome } from "../../builders/bases/make.ts";
import { ProgramFailed } from "../../builders/bases/programs.ts";
import { BaseRecordDamaged, readBases } from "../../builders/bases/record.ts";
import type { Config } from "../../config.ts";
import { baseRecipes, catalogueOf, currentBases } from "../../core/image/bases.ts";
import { DockerError, DockerStreamError, DockerUnreachable } from "../../docker/errors.ts";
import type { Paths } from "../../paths.ts";
import { makingDeps, openDaemon, unreachable, type GivenSources } from "./making.ts";
import { ImagesRefused } from "./refused.ts";
import { runningImages, stillOn, type RunningImage } from "./running.ts";
import { changeLines, imagesTable, listImages, megabytes, nameOf } from "./words.ts";

const names = baseRecipes.map(({ name }) => name);

export const imagesUsage = `Usage: berth images <list|build> [NAMES...] [--force] [--sources FILE --suite NAME] [--json]
  list          the images that builds use on this installation, where they come from, and which components run on an older one
  build         makes base images from Debian packages: ${names.join(", ")}
                Without names those that were made before; all of them the first time.
  --force       a new version though no package changed
  --sources     where Debian packages come from, as sources.list(5) says, instead of this machine's own apt sources; --suite: their release
`;

/** Runs one of the two and says in words why it could not. */
export async function imagesCommand(config: Config, paths: Paths, args: readonly string[]): Promise<number> {
  const stopped = stopOnSignals();
  const json = args.includes("--json");
  try {
    const given = parse(args);
    if (given === undefined) {
      process.stdout.write(imagesUsage);
      return 0;
    }
    return await (given.verb === "list" ? list(config, paths, json, stopped) : build(config, paths, given, json, stopped));
  } catch (error) {
    if (error instanceof Usage) {
      process.stderr.write(`Error: ${error.message}.\n${imagesUsage}`);
      return 2;
    }
    if (stopped.aborted) {
      process.stderr.write("Stopped; nothing of what was begun is left behind, and the catalogue is as it was.\n");
      return 130;
    }
    const refused = refusalOf(error);
    if (json) process.stdout.write(`${JSON.stringify({ error: { code: refused.code, message: refused.message, hint: refused.hint } })}\n`);
    process.stderr.write(`Error: ${refused.message}\nNext: ${refused.hint}\n`);
    return 1;
  }
}

class Usage extends Error {}

interface Given {
  readonly verb: "list" | "build";
  readonly names: readonly string[];
  readonly force: boolean;
  readonly sources: GivenSources | undefined;
}

/** undefined: help was asked for. Throws Usage, and ImagesRefused for a base that nobody knows how to make. */
function parse(args: readonly string[]): Given | undefined {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      options: {
        force: { type: "boolean" },
        json: { type: "boolean" },
        sources: { type: "string" },
        suite: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
      allowPositionals: true,
    });
  } catch (error) {
    throw new Usage(error instanceof Error ? error.message.split(". ")[0] : String(error));
  }
  const { values, positionals } = parsed;
  const [verb, ...wanted] = positionals;
  if (values.help === true) return undefined;
  if (verb !== "list" && verb !== "build")
    throw new Usage(verb === undefined ? "say list or build" : `\`berth images ${verb}\` is not known`);
  if (verb === "list" && (wanted.length > 0 || values.force === true)) throw new Usage("list takes nothing but --json");
  if ((values.sources === undefined) !== (values.suite === undefined)) throw new Usage("--sources and --suite belong together");
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new ImagesRefused(
      "base_unknown",
      `Berth does not know how to make ${unknown}.`,
      `It makes ${names.join(", ")}; other images are named in config.json.`,
    );
  const sources = values.sources === undefined || values.suite === undefined ? undefined : { file: values.sources, suite: values.suite };
  return { verb, names: wanted, force: values.force === true, sources };
}

async function list(config: Config, paths: Paths, json: boolean, signal: AbortSignal): Promise<number> {
  const { bases } = readBases(paths.bases);
  let running: readonly RunningImage[] = [];
  if (bases.length > 0) {
    const api = await openDaemon(config, signal);
    try {
      running = await runningImages(config, paths, api, signal);
    } finally {
      api.close();
    }
  }
  const rows = listImages(catalogueOf(config.images, bases), bases, (base) =>
    stillOn(
      running,
      bases.filter((other) => other.name === base.name && other !== base),
      base,
    ),
  );
  process.stdout.write(json ? `${JSON.stringify({ items: rows })}\n` : imagesTable(rows));
  if (!json && config.engine.kind === "local")
    process.stderr.write("This installation runs processes: these images are used where instances are containers.\n");
  return 0;
}

async function build(config: Config, paths: Paths, given: Given, json: boolean, signal: AbortSignal): Promise<number> {
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const api = await openDaemon(config, signal);
  try {
    const onProgress = (event: MakingEvent): void => {
      if (event.type === "started") say(`Making ${event.recipe.name}: ${event.recipe.summary} ...`);
      else for (const line of outcomeLines(event.outcome)) say(line);
    };
    const deps = makingDeps(config, paths, api, given.sources, { clock: () => new Date(), onProgress, signal });
    // As the server makes it: users of builds and instances have to be able to pass.
    mkdirSync(paths.home, { recursive: true, mode: 0o711 });
    mkdirSync(paths.images, { recursive: true, mode: 0o711 });
    const before = readBases(paths.bases).bases;
    const known = currentBases(before).map(({ name }) => name);
    const wanted = given.names.length > 0 ? given.names : known.length > 0 ? known : names;
    const outcomes = await makeBases(deps, wanted, { force: given.force, signal });
    const running = outcomes.some(({ result }) => result === "new") ? await runningImages(config, paths, api, signal) : [];
    const behind = (outcome: MakingOutcome): readonly RunningImage[] =>
      outcome.result === "new"
        ? stillOn(
            running,
            before.filter(({ name }) => name === outcome.base.name),
            outcome.base,
          )
        : [];
    if (json) process.stdout.write(`${JSON.stringify({ items: outcomes.map((outcome) => shown(outcome, behind(outcome))) })}\n`);
    else process.stdout.write(closingWords(config, paths, outcomes, behind));
    return 0;
  } finally {
    api.close();
  }
}

function outcomeLines({ base, result, before, changes, took }: MakingOutcome): string[] {
  const what = `${base.name} ${base.line}-${base.version}`;
  const seconds = `${Math.round(took / 1000)} s`;
  if (result === "unchanged") return [`  ${what}: unchanged, ${Object.keys(base.packages).length} packages (${seconds})`];
  const sizes = [`builds in ${megabytes(base.build.size)}`, ...(base.run === undefined ? [] : [`runs in ${megabytes(base.run.size)}`])];
  if (before === undefined) return [`  ${what}: made, ${Object.keys(base.packages).length} packages, ${sizes.join(", ")} (${seconds})`];
  const lines = changeLines(changes);
  return [
    `  ${what}: replaces ${before.line}-${before.version}, ${sizes.join(", ")} (${seconds})`,
    ...(lines.length === 0 ? ["    no package changed"] : lines.map((line) => `    ${line}`)),
  ];
}

function shown({ base, result, before, changes }: MakingOutcome, behind: readonly RunningImage[]): object {
  return {
    name: base.name,
    result,
    version: `${base.line}-${base.version}`,
    ...(before === undefined ? {} : { before: `${before.line}-${before.version}` }),
    build: base.build.reference,
    ...(base.run === undefined ? {} : { run: base.run.reference }),
    packages: result === "first" ? { added: Object.keys(base.packages).length } : changes,
    behind: behind.map(({ stack, component, release }) => ({ stack, component, release })),
  };
}

function closingWords(
  config: Config,
  paths: Paths,
  outcomes: readonly MakingOutcome[],
  behind: (outcome: MakingOutcome) => readonly RunningImage[],
): string {
  const late = new Map(outcomes.flatMap(behind).map((one) => [`${nameOf(one)} ${String(one.release)}`, one]));
  const made = readBases(paths.bases).bases;
  const system = currentBases(made).find(({ runtime }) => runtime === undefined);
  const stale = currentBases(made).filter(({ on }) => on !== undefined && on !== system?.build.reference);
  const hidden = outcomes.filter(({ base }) => !namedBy(catalogueOf(config.images, made)).includes(base.build.reference));
  const lines = [
    ...(late.size === 0
      ? []
      : [
          "These components still run on the old one:",
          ...[...late.values()].map((one) => `  ${nameOf(one)} (release ${one.release})`),
          ...[...late.values()]
            .slice(0, 1)
            .map(({ stack, component }) => `Next: \`berth deploy -s ${stack} -c ${component} --again\` builds it again, on the new one.`),
        ]),
    ...(stale.length === 0
      ? []
      : [`Still on the old operating system: ${stale.map(({ name }) => name).join(", ")}.`, "Next: `berth images build` makes them anew."]),
    ...(hidden.length === 0
      ? []
      : [`config.json names other images in the place of ${hidden.map(({ base }) => base.name).join(", ")}: builds use those.`]),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function namedBy({ os, runtimes }: ReturnType<typeof catalogueOf>): string[] {
  return [os, ...runtimes.map(({ build }) => build)];
}

/** Ctrl-C and SIGTERM give up; what was begun is cleared away by who began it. */
function stopOnSignals(): AbortSignal {
  const stopped = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.once(name, () => {
      stopped.abort(new Error("interrupted"));
    });
  return stopped.signal;
}

/** Throws what is nobody's to mend at the keyboard. */
function refusalOf(error: unknown): ImagesRefused {
  if (error instanceof ImagesRefused) return error;
  if (error instanceof DockerUnreachable) return unreachable(error);
  if (error instanceof BaseRecordDamaged) return new ImagesRefused("base_record_damaged", error.message, error.hint, { cause: error });
  if (error instanceof ProgramFailed)
    return new ImagesRefused(
      "base_not_made",
      `${error.message.split("\n").slice(-6).join("\n")}`,
      "Mend what it says (the network, the apt sources, room on the disk) and run it again: it begins with a clean folder.",
      { cause: error },
    );
  if (error instanceof DockerError || error instanceof DockerStreamError)
    return new ImagesRefused("base_not_made", `The daemon refused: ${error.message}.`, "Mend what it says and run it again.", {
      cause: error,
    });
  throw error;
}
