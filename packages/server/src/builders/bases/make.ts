// Makes the base images of an installation: an operating system by debootstrap, and runtimes on it by apt, each a layer that changes only when its packages do. One making at a time;
// whatever ends it, the next one begins by removing what it left. The catalogue names a new version only when both of its images are there.
import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { chmod, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { contentHash } from "../../core/canonical.ts";
import { baseReference, currentBases, nextVersion, type BaseRecipe, type MadeBase, type MadeImage } from "../../core/image/bases.ts";
import { comparePackages, packagesDigest, type PackageChanges, type Packages } from "../../core/image/packages.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerUnreachable } from "../../docker/errors.ts";
import { withLock } from "../../os/lock.ts";
import { packagesIn, type Apt } from "./apt.ts";
import { packRoot, strip } from "./debian.ts";
import { composeImage, exportRoot, forgetImage, hasImage, makingLabel, removeMaking, takenVersions } from "./images.ts";
import { markMoment, packLayer, unpackRoot } from "./layer.ts";
import { putOwnPrograms, type OwnPrograms } from "./own.ts";
import type { Running } from "./programs.ts";
import { readBases, writeBases } from "./record.ts";

export interface MakingDeps {
  readonly api: DockerApi;
  /** Of the record, see record.ts. */
  readonly record: string;
  /** A folder of the making's own, on a disk with room for some GB where devices and programs work. */
  readonly folder: string;
  readonly clock: () => Date;
  readonly recipes: readonly BaseRecipe[];
  /** Makes the operating system's root in an empty folder, not yet stripped. */
  readonly bootstrap: (folder: string) => Promise<void>;
  /** Called once, when packages are needed. */
  readonly openApt: () => Promise<Apt>;
  readonly own: OwnPrograms;
  /** The environment of the programs that are run. */
  readonly env: Readonly<Record<string, string>>;
  readonly onProgress: (event: MakingEvent) => void;
}

export type MakingEvent =
  { readonly type: "started"; readonly recipe: BaseRecipe } | { readonly type: "ended"; readonly outcome: MakingOutcome };

export interface MakingOutcome {
  readonly base: MadeBase;
  readonly result: "first" | "new" | "unchanged";
  /** What it replaces. */
  readonly before: MadeBase | undefined;
  readonly changes: PackageChanges;
  /** ms */
  readonly took: number;
}

const basePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** The one before stays: a build that began with it may still be under way. */
const keptVersions = 2;

/**
 * Makes the named bases, the operating system first where one is missing. `force`: a new version though no package changed.
 * Errors: DockerError, DockerUnreachable, ProgramFailed, BaseRecordDamaged, the signal's reason.
 */
export async function makeBases(
  deps: MakingDeps,
  names: readonly string[],
  options: { readonly force: boolean; readonly signal: AbortSignal },
): Promise<MakingOutcome[]> {
  await mkdir(deps.folder, { recursive: true, mode: 0o700 });
  return withLock(join(deps.folder, "lock"), options.signal, async () => {
    const making = new Making(deps, options);
    try {
      await making.begin();
      return await making.all(names);
    } finally {
      await making.end();
    }
  });
}

class Making {
  readonly #deps: MakingDeps;
  readonly #force: boolean;
  readonly #signal: AbortSignal;
  readonly #running: Running;
  readonly #work: string;
  #apt: Promise<Apt> | undefined;

  constructor(deps: MakingDeps, options: { readonly force: boolean; readonly signal: AbortSignal }) {
    this.#deps = deps;
    this.#force = options.force;
    this.#signal = options.signal;
    this.#running = { signal: options.signal, env: deps.env };
    this.#work = join(deps.folder, "work");
  }

  async begin(): Promise<void> {
    const { making } = readBases(this.#deps.record);
    if (making !== undefined) await removeMaking(this.#deps.api, making, this.#signal);
    await rm(this.#work, { recursive: true, force: true });
    await mkdir(this.#work, { mode: 0o700 });
  }

  async end(): Promise<void> {
    await rm(this.#work, { recursive: true, force: true });
  }

  async all(names: readonly string[]): Promise<MakingOutcome[]> {
    const outcomes: MakingOutcome[] = [];
    const system = this.#deps.recipes.find(({ runtime }) => runtime === undefined);
    const wanted = this.#deps.recipes.filter((recipe) => names.includes(recipe.name));
    const needsSystem = system !== undefined && !wanted.includes(system) && !(await this.#isThere(this.#current(system.name)));
    for (const recipe of needsSystem ? [system, ...wanted] : wanted) {
      this.#deps.onProgress({ type: "started", recipe });
      const outcome = await this.#one(recipe);
      this.#deps.onProgress({ type: "ended", outcome });
      outcomes.push(outcome);
    }
    return outcomes;
  }

  #current(name: string): MadeBase | undefined {
    return currentBases(readBases(this.#deps.record).bases).find((base) => base.name === name);
  }

  async #isThere(base: MadeBase | undefined): Promise<boolean> {
    if (base === undefined) return false;
    for (const image of [base.build, base.run])
      if (image !== undefined && !(await hasImage(this.#deps.api, image, this.#signal))) return false;
    return true;
  }

  async #one(recipe: BaseRecipe): Promise<MakingOutcome> {
    const { clock, record, api } = this.#deps;
    const started = clock().getTime();
    const making = randomUUID();
    writeBases(record, { ...readBases(record), making });
    try {
      const before = this.#current(recipe.name);
      const draft = recipe.runtime === undefined ? await this.#system(recipe) : await this.#runtime(recipe, making);
      const changes = comparePackages(before?.packages ?? {}, draft.packages);
      const same =
        before !== undefined &&
        !this.#force &&
        packagesDigest(before.packages) === packagesDigest(draft.packages) &&
        before.recipe === draft.recipe &&
        before.on === draft.on &&
        (await this.#isThere(before));
      const took = (): number => clock().getTime() - started;
      if (same) {
        writeBases(record, { format: 1, bases: readBases(record).bases });
        return { base: before, result: "unchanged", before, changes, took: took() };
      }
      const base = await this.#compose(recipe, draft, making);
      const { bases, forgotten } = withoutOld([...readBases(record).bases, base], recipe.name);
      writeBases(record, { format: 1, bases });
      for (const image of forgotten) await forgetImage(api, image.reference, this.#signal);
      return { base, result: before === undefined ? "first" : "new", before, changes, took: took() };
    } catch (error) {
      await this.#clear(making);
      throw error;
    } finally {
      await rm(join(this.#work, recipe.name), { recursive: true, force: true });
    }
  }

  /** A daemon that is away keeps what there is until the next making begins: the record still names it. */
  async #clear(making: string): Promise<void> {
    try {
      await removeMaking(this.#deps.api, making);
    } catch (error) {
      if (!(error instanceof DockerUnreachable)) throw error;
      return;
    }
    writeBases(this.#deps.record, { format: 1, bases: readBases(this.#deps.record).bases });
  }

  /** The layers of a base as archives. */
  async #system(recipe: BaseRecipe): Promise<Draft> {
    const { at, root } = await this.#place(recipe);
    await this.#deps.bootstrap(root);
    await (await this.#openApt()).install(root, recipe.run);
    await strip(root);
    const packages = await packagesIn(root);
    const archive = at("system.tar");
    await pipeline(Readable.from(packRoot(root, this.#running)), createWriteStream(archive));
    return { packages, build: archive, ...recipeFacts(recipe, undefined) };
  }

  async #runtime(recipe: BaseRecipe, making: string): Promise<Draft> {
    const system = this.#deps.recipes.find(({ runtime }) => runtime === undefined);
    const on = system === undefined ? undefined : this.#current(system.name)?.build.reference;
    if (on === undefined) throw new Error("a runtime needs an operating system, and no recipe makes one");
    const { at, root } = await this.#place(recipe);
    await exportRoot(this.#deps.api, on, making, at("system.tar"), this.#signal);
    await unpackRoot(at("system.tar"), root, this.#running);
    const apt = await this.#openApt();
    const layer = async (name: string, change: () => Promise<void>): Promise<string> => {
      await markMoment(at("mark"));
      await change();
      await strip(root);
      await packLayer(root, at("mark"), at(name), this.#deps.clock(), this.#running);
      return at(name);
    };
    let own: Packages = {};
    const put = async (): Promise<void> => {
      own = await putOwnPrograms(this.#deps.own, recipe.own ?? [], root, at("own"), this.#running);
    };
    const run =
      recipe.onlyBuilds === true
        ? undefined
        : await layer("run.tar", async () => {
            if (recipe.run.length > 0) await apt.install(root, recipe.run);
            await put();
          });
    const build = await layer("build.tar", async () => {
      await apt.install(root, recipe.onlyBuilds === true ? [...recipe.run, ...recipe.build] : recipe.build);
      if (run === undefined) await put();
    });
    const packages = { ...(await packagesIn(root)), ...own };
    return { packages, build, ...(run === undefined ? {} : { run }), ...recipeFacts(recipe, on) };
  }

  async #place(recipe: BaseRecipe): Promise<{ readonly at: (name: string) => string; readonly root: string }> {
    const folder = join(this.#work, recipe.name);
    const at = (name: string): string => join(folder, name);
    await rm(folder, { recursive: true, force: true });
    await mkdir(at("root"), { recursive: true });
    await chmod(at("root"), 0o755);
    return { at, root: at("root") };
  }

  #openApt(): Promise<Apt> {
    this.#apt ??= this.#deps.openApt();
    return this.#apt;
  }

  async #compose(recipe: BaseRecipe, draft: Draft, making: string): Promise<MadeBase> {
    const { api, clock } = this.#deps;
    const line = lineOf(recipe, draft.packages);
    const now = clock();
    const prefix = baseReference({ name: recipe.name, line, version: "" }, "build");
    const mine = readBases(this.#deps.record).bases.flatMap((base) => (base.name === recipe.name ? base.version : []));
    const version = nextVersion(now, [...mine, ...(await takenVersions(api, prefix, this.#signal))]);
    const labels = {
      [makingLabel]: making,
      "berth.base": recipe.name,
      "berth.base.version": `${line}-${version}`,
      "berth.base.packages": packagesDigest(draft.packages),
    };
    const image = (use: "build" | "run", from: string, archive: string, env: Readonly<Record<string, string>> = {}): Promise<MadeImage> =>
      composeImage(api, { reference: baseReference({ name: recipe.name, line, version }, use), from, archive, labels, env }, this.#signal);
    const first = draft.on === undefined ? { PATH: basePath } : {};
    const run = draft.run === undefined ? undefined : await image("run", draft.on ?? "scratch", draft.run, recipe.env);
    const build = await image("build", run?.reference ?? draft.on ?? "scratch", draft.build, {
      ...first,
      ...recipe.env,
      ...recipe.buildEnv,
    });
    return {
      name: recipe.name,
      ...(recipe.runtime === undefined ? {} : { runtime: recipe.runtime }),
      line,
      version,
      madeAt: now.toISOString(),
      recipe: draft.recipe,
      ...(draft.on === undefined ? {} : { on: draft.on }),
      build,
      ...(run === undefined ? {} : { run }),
      packages: draft.packages,
      ...(recipe.beside === undefined ? {} : { beside: recipe.beside }),
    };
  }
}

interface Draft {
  readonly packages: Packages;
  readonly recipe: string;
  readonly on?: string;
  readonly build: string;
  readonly run?: string;
}

function recipeFacts(recipe: BaseRecipe, on: string | undefined): { readonly recipe: string; readonly on?: string } {
  const { run, build, own, env, buildEnv, beside } = recipe;
  return { recipe: contentHash({ run, build, own, env, buildEnv, beside }), ...(on === undefined ? {} : { on }) };
}

/** Throws when the package that tells it is not there: a recipe that does not fit this release of Debian. */
function lineOf({ name, line }: BaseRecipe, packages: Packages): string {
  const version = packages[line.of];
  const found = version === undefined ? undefined : line.pattern.exec(version)?.[1];
  if (found === undefined) throw new Error(`${name}: ${line.of} ${version ?? "is not installed"} does not tell a version`);
  return found;
}

/** A base's newest versions, and those of the others; with the images that go. */
function withoutOld(bases: readonly MadeBase[], name: string): { readonly bases: MadeBase[]; readonly forgotten: MadeImage[] } {
  const old = bases.filter((base) => base.name === name).slice(0, -keptVersions);
  return {
    bases: bases.filter((base) => !old.includes(base)),
    forgotten: old.flatMap(({ build, run }) => [...(run === undefined ? [] : [run]), build]),
  };
}
