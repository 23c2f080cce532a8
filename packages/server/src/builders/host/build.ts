// The host builder: executes a build plan on this machine, in a clean folder and as the stack's build user. Code that is built is hostile:
// nothing of it runs after the build's end, and Berth follows no link that it made.
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { BuildPlan, BuildStep } from "@berth/contract/buildplan.ts";
import { duration } from "../../core/words.ts";
import { joinPath } from "../../core/buildplan/source.ts";
import { createMask } from "../../core/mask.ts";
import type { Group } from "../../sandbox/cgroups.ts";
import type { View } from "../../sandbox/view.ts";
import type { BlobReader, BlobWriter, Builder, BuildEvent, BuildOutcome, BuildRequest, FindTool, RunAs } from "../builder.ts";
import type { UsedTool } from "../../core/attest/built.ts";
import { killProcesses } from "../process.ts";
import { BundleTooLarge, storeBundle } from "./bundle.ts";
import { findConfinement, type Confinement } from "./confine.ts";
import { markName, stepEnvironment } from "./environment.ts";
import { beginGroup, buildView, endGroups, limitCause, type BuildKeeping } from "./keeping.ts";
import { BuildLog, logBounds, type LogBounds } from "../log.ts";
import { keepOutputs, outputKey, restoreOutputs, type OutputPlace } from "./outputs.ts";
import { buildPlace, makeCaches, makePlace, readLeaders, removeCaches, removePlace, stackCaches, type BuildPlace } from "./place.ts";
import { runStep, type StepEnd } from "./step.ts";
import { unpack } from "./unpack.ts";
import { openBelow, type Walk } from "./walk.ts";

export interface HostLimits {
  /** Bytes of a bundle before compression. */
  readonly bundle: number;
  /** Bytes of a stack's kept outputs. */
  readonly outputs: number;
  readonly log: LogBounds;
}
export const hostLimits: HostLimits = { bundle: 6 * 1024 ** 3, outputs: 2 * 1024 ** 3, log: logBounds };

export interface HostBuilderDeps {
  /** Berth's home, absolute. */
  readonly home: string;
  readonly blobs: BlobReader & BlobWriter;
  readonly findTool: FindTool;
  /** The user that a stack's builds run as; undefined when Berth is not root. */
  readonly uidFor: (stackId: string) => RunAs | undefined | Promise<RunAs | undefined>;
  readonly clock?: () => Date;
  /** PATH of the system's own programs. */
  readonly systemPath?: string;
  /** What every build on this machine needs to reach the network: proxies, mirrors, certificate files. */
  readonly passEnv?: Readonly<Record<string, string>>;
  readonly limits?: HostLimits;
  /** How programs are confined; by default as strongly as this machine allows. */
  readonly findConfinement?: (runAs: RunAs | undefined) => Promise<Confinement>;
  /** `off`: no bubblewrap, though it is there. */
  readonly sandbox?: "auto" | "off";
  /** By default nothing is limited and only the home is hidden. */
  readonly keeping?: BuildKeeping;
}

const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Caches that their tools lock themselves; every other is used by one build at a time. */
const sharedCaches: ReadonlySet<string> = new Set([
  "npm",
  "pnpm",
  "yarn",
  "pip",
  "uv",
  "poetry",
  "go",
  "go-build",
  "go-mod",
  "cargo",
  "gradle",
  "composer",
]);

/** One build while it runs. */
interface Running {
  readonly request: BuildRequest;
  readonly place: BuildPlace;
  readonly runAs: RunAs | undefined;
  readonly log: BuildLog;
  readonly onEvent: (event: BuildEvent) => void;
  readonly signal: AbortSignal;
}

class BuildFailed extends Error {
  readonly failure: Cause;
  constructor(failure: Cause) {
    super(failure.code);
    this.name = "BuildFailed";
    this.failure = failure;
  }
}

export function createHostBuilder(deps: HostBuilderDeps): Builder {
  const limits = deps.limits ?? hostLimits;
  const keeping: BuildKeeping = deps.keeping ?? { hidden: [deps.home], groups: undefined, memory: undefined };
  const clock = deps.clock ?? (() => new Date());
  const confinements = new Map<number | undefined, Promise<Confinement>>();
  const running = new Set<string>();
  const locks = new Map<string, Promise<void>>();

  function confinementFor(runAs: RunAs | undefined): Promise<Confinement> {
    const known = confinements.get(runAs?.uid) ?? deps.findConfinement?.(runAs) ?? strongest(runAs);
    confinements.set(runAs?.uid, known);
    return known;
  }

  async function strongest(runAs: RunAs | undefined): Promise<Confinement> {
    const scratch = join(deps.home, "builds");
    await mkdir(scratch, { recursive: true, mode: 0o711 });
    return findConfinement(runAs, deps.sandbox === "off" ? undefined : scratch);
  }

  async function findTools(plan: BuildPlan, runAs: RunAs | undefined): Promise<{ tools: UsedTool[]; dirs: string[] }> {
    const tools: UsedTool[] = [];
    const dirs: string[] = [];
    for (const { name, wanted, phase } of plan.tools) {
      const found = await deps.findTool(name, wanted, runAs);
      if (!found.ok) throw new BuildFailed(found.cause);
      tools.push({ name, version: found.version, wanted, phase });
      dirs.push(found.binDir);
    }
    return { tools, dirs };
  }

  async function execute(build: Running): Promise<BuildOutcome> {
    const { request, place, runAs, log, signal } = build;
    const { plan } = request;
    refuseDockerfile(plan);
    const { tools, dirs } = await findTools(plan, runAs);
    await makePlace(place, runAs);
    await unpack(await deps.blobs.open(request.sourceDigest, signal), place.workDir, runAs, signal);
    await requireRoot(place, plan.root);
    const release = await lockCaches(
      locks,
      request.stackId,
      plan.caches.map((cache) => cache.name),
      signal,
    );
    try {
      const caches = await makeCaches(
        deps.home,
        request.stackId,
        plan.caches.map((cache) => cache.name),
        runAs,
      );
      const env = stepEnvironment({
        plan,
        userEnv: request.env,
        passEnv: deps.passEnv ?? {},
        root: join(place.workDir, plan.root),
        homeDir: place.homeDir,
        tmpDir: place.tmpDir,
        caches,
        toolDirs: dirs,
        systemPath: deps.systemPath ?? usualPath,
        buildId: request.id,
      });
      const outputs: OutputPlace = {
        store: join(stackCaches(deps.home, request.stackId), "outputs"),
        workDir: place.workDir,
        root: plan.root,
        runAs,
        stagingDir: place.stagingDir,
        limit: limits.outputs,
      };
      const view = buildView({
        place,
        hidden: keeping.hidden,
        caches,
        toolDirs: dirs,
        systemPath: deps.systemPath ?? usualPath,
        passEnv: deps.passEnv ?? {},
      });
      const group = beginGroup(keeping, request.id);
      for (const step of plan.steps) await runOrRestore(build, step, { env, outputs, tools, view, group });
    } finally {
      release();
    }
    const walk: Walk = {
      workDir: place.workDir,
      root: plan.root,
      owner: runAs?.uid,
      exclude: new Set(plan.exclude.map((path) => joinPath(".", path))),
      links: "enclose",
      onSkipped: (path, why) => {
        log.say(`${path} is left out of the bundle: ${why}.`);
      },
    };
    const bundle = await storeBundle(walk, deps.blobs, limits.bundle, signal);
    return { ok: true, ...bundle, processes: Object.keys(plan.processes), tools };
  }

  async function runOrRestore(
    build: Running,
    step: BuildStep,
    facts: {
      readonly env: Readonly<Record<string, string>>;
      readonly outputs: OutputPlace;
      readonly tools: readonly UsedTool[];
      readonly view: View;
      readonly group: Group | undefined;
    },
  ): Promise<void> {
    const { request, place, signal, onEvent } = build;
    const started = performance.now();
    const took = (): number => Math.round(performance.now() - started);
    const key = await outputKey(step, facts.outputs, { tools: facts.tools, env: { ...request.plan.env, ...request.env } });
    if (key !== undefined && (await restoreOutputs(key, step, facts.outputs, signal))) {
      onEvent({ type: "step", name: step.name, state: "cached", took: took() });
      return;
    }
    onEvent({ type: "step", name: step.name, state: "started" });
    const log = build.log.step(step.name);
    let end: StepEnd;
    try {
      end = await runStep({
        command: step.command,
        cwd: join(place.workDir, request.plan.root),
        env: facts.env,
        confinement: await confinementFor(build.runAs),
        runAs: build.runAs,
        notesDir: place.notesDir,
        log,
        signal,
        view: facts.view,
        group: facts.group,
      });
    } catch (error) {
      onEvent({ type: "step", name: step.name, state: "failed", took: took() });
      if (signal.aborted && signal.reason instanceof Late)
        throw new BuildFailed({
          ...cause("build_deadline", { waited: duration(request.deadline) }),
          evidence: log.scan.failure({ step: step.name, exitCode: "" }).evidence,
        });
      throw error;
    }
    if (end.type === "exit" && end.code === 0) {
      if (key !== undefined) await keepOutputs(key, step, facts.outputs, signal);
      onEvent({ type: "step", name: step.name, state: "finished", took: took() });
      return;
    }
    onEvent({ type: "step", name: step.name, state: "failed", took: took() });
    const failure = failureOf(step, end, log.scan);
    throw new BuildFailed(limitCause(keeping, facts.group, step.name, failure.evidence) ?? failure);
  }

  async function build(request: BuildRequest, onEvent: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildOutcome> {
    signal.throwIfAborted();
    const place = buildPlace(deps.home, request.id);
    if (running.has(request.id)) throw new Error(`build ${request.id} runs already`);
    const runAs = await deps.uidFor(request.stackId);
    running.add(request.id);
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(new Late());
    }, request.deadline);
    const log = new BuildLog({ onEvent, mask: createMask(request.secretValues), clock, folder: place.workDir, bounds: limits.log });
    try {
      // A crashed control plane may have run the same build before.
      await endBuild(place, request.id, runAs);
      return await execute({ request, place, runAs, log, onEvent, signal: AbortSignal.any([signal, late.signal]) });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof BuildFailed) return { ok: false, cause: error.failure };
      if (late.signal.aborted) return { ok: false, cause: cause("build_deadline", { waited: duration(request.deadline) }) };
      if (error instanceof BundleTooLarge)
        return { ok: false, cause: cause("bundle_too_large", { limit: `${String(Math.round(limits.bundle / 1024 ** 2))} MiB` }) };
      throw error;
    } finally {
      clearTimeout(timer);
      await endBuild(place, request.id, runAs, await groupOf(request.id, runAs)).finally(() => {
        running.delete(request.id);
        endGroups(keeping, running);
      });
    }
  }

  /** The group that holds all that is left of this build, where nothing can leave a step's own process view; undefined elsewhere. */
  async function groupOf(id: string, runAs: RunAs | undefined): Promise<Group | undefined> {
    const { level } = await confinementFor(runAs);
    return level === "sandbox" || level === "namespace" ? keeping.groups?.group(id) : undefined;
  }

  /** Kills what is left of a build and removes its folder. */
  async function endBuild(place: BuildPlace, id: string, runAs: RunAs | undefined, group?: Group): Promise<void> {
    if ((await stat(place.dir).catch(() => undefined)) === undefined) return;
    await killProcesses({ leaders: await readLeaders(place), recent: false, mark: `${markName}=${id}`, group });
    await removePlace(place, runAs);
  }

  return {
    kind: "host",
    check: async (plan, stackId) => {
      try {
        refuseDockerfile(plan);
        await findTools(plan, stackId === "" ? undefined : await deps.uidFor(stackId));
        return undefined;
      } catch (error) {
        if (error instanceof BuildFailed) return error.failure;
        throw error;
      }
    },
    build,
    forget: (stackId) => removeCaches(deps.home, stackId),
    sweep: async (isActive) => {
      const top = join(deps.home, "builds");
      await mkdir(top, { recursive: true, mode: 0o711 });
      for (const id of await readdir(top)) {
        if (isActive(id) || running.has(id)) continue;
        const place = buildPlace(deps.home, id);
        await endBuild(place, id, await ownerOf(place.workDir));
      }
      endGroups(keeping, running);
    },
  };
}

class Late extends Error {}

function refuseDockerfile(plan: BuildPlan): void {
  if (plan.kind === "dockerfile")
    throw new BuildFailed(
      cause(
        "dockerfile_needs_container_engine",
        { dir: plan.root === "." ? "The folder" : plan.root },
        plan.findings.slice(0, 10).map(({ file, says }) => ({ kind: "file", text: `${file}: ${says}` })),
      ),
    );
}

async function requireRoot(place: BuildPlace, root: string): Promise<void> {
  const folder = await openBelow(place.workDir, root);
  if (folder === undefined)
    throw new BuildFailed(cause("plan_not_detected", { dir: root, known: "its files (the folder is not in the source)" }));
  await folder.close();
}

/** The user that a left-over build ran as; undefined when that is Berth's own. */
async function ownerOf(dir: string): Promise<RunAs | undefined> {
  const found = await stat(dir).catch(() => undefined);
  return found === undefined || found.uid === process.getuid?.() ? undefined : { uid: found.uid, gid: found.gid };
}

/** Waits for the caches that one build at a time may use; in the order of their names, so that two builds never wait for each other. */
async function lockCaches(
  locks: Map<string, Promise<void>>,
  stackId: string,
  names: readonly string[],
  signal: AbortSignal,
): Promise<() => void> {
  const held: (() => void)[] = [];
  const releaseAll = (): void => {
    for (const release of held) release();
  };
  for (const name of [...new Set(names)].filter((one) => !sharedCaches.has(one)).sort()) {
    const key = `${stackId}/${name}`;
    const before = locks.get(key) ?? Promise.resolve();
    const mine = Promise.withResolvers<void>();
    const turn = before.then(() => mine.promise);
    locks.set(key, turn);
    held.push(() => {
      mine.resolve();
      if (locks.get(key) === turn) locks.delete(key);
    });
    const aborted = Promise.withResolvers<void>();
    const onAbort = (): void => {
      aborted.resolve();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    await Promise.race([before, aborted.promise]);
    signal.removeEventListener("abort", onAbort);
    if (signal.aborted) {
      releaseAll();
      throw signal.reason;
    }
  }
  return releaseAll;
}

function failureOf(step: BuildStep, end: StepEnd, scan: { failure(params: { step: string; exitCode: string | number }): Cause }): Cause {
  switch (end.type) {
    case "exit": {
      const failure = scan.failure({ step: step.name, exitCode: end.code });
      // The shell that starts the program is Berth's own when the command is an argument array.
      const [program = ""] = "exec" in step.command ? step.command.exec : [];
      if (end.code === 127 && program !== "" && String(failure.params["line"]).includes(`${program}: `))
        return { ...cause("command_not_found", { command: spokenCommand(step) }), evidence: failure.evidence };
      return failure;
    }
    case "signal":
      return scan.failure({ step: step.name, exitCode: end.signal });
    case "not-started": {
      const command = spokenCommand(step);
      return end.reason === "ENOENT"
        ? cause("command_not_found", { command })
        : cause("start_failed", { reason: `${command}: ${end.reason}` });
    }
  }
}

function spokenCommand(step: BuildStep): string {
  return "exec" in step.command ? step.command.exec.join(" ") : step.command.shell;
}
