// The local engine: processes of this machine, which the edge's agent starts and watches. What lies in Berth's own folders (releases, volumes) it sees to itself.
import { chmod, chown, mkdir, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { cause } from "@berth/contract/causes.ts";
import { BerthError } from "../../core/errors.ts";
import { fillFolder, packFolder } from "../agent/archive.ts";
import { AgentEngine, type AgentEngineDeps } from "../agent/engine.ts";
import type { FenceCheck, StackAnswer, StackUse } from "../agent/protocol.ts";
import { EngineFailure, type Fence, type VolumePort, type Workload } from "../engine.ts";
import { pruneReleases, unpackBundle } from "./bundle.ts";
import { removeTree } from "../../os/remove.ts";
import { findTool } from "./tools.ts";

export interface LocalEngineDeps extends AgentEngineDeps {
  /** Berth's home folder, shared with the agent. */
  readonly home: string;
  /** The bundle's bytes; rejects when it is not stored. */
  readonly openBlob: (digest: string) => Promise<Readable>;
}

const keptReleases = 3;

export class LocalEngine extends AgentEngine {
  readonly kind = "local";
  protected readonly rendered = "process";
  protected readonly unreached = { isolation: ["none"], volumes: "env" } as const;
  readonly #deps: LocalEngineDeps;
  /** Folders of volumes that content is being put into. */
  readonly #filling = new Set<string>();

  constructor(deps: LocalEngineDeps) {
    super(deps);
    this.#deps = deps;
  }

  async prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void> {
    if (workload.artifact.kind === "image")
      throw new EngineFailure(
        cause("image_needs_container_engine", { component: workload.ref.component, image: workload.artifact.reference }),
        { retryable: false },
      );
    await this.agent.call("POST", "/v1/fences", { ref: workload.ref, fence } satisfies FenceCheck, signal);
    const { dir, uid, gid } = (await this.agent.call("PUT", `/v1/stacks/${workload.stackId}`, undefined, signal)) as StackAnswer;
    const owner = uid === undefined || gid === undefined ? undefined : { uid, gid };
    for (const tool of workload.tools) {
      const answer = await findTool(
        tool.name,
        tool.wanted,
        { ...(owner === undefined ? {} : { runAs: owner }), path: [], runtimeDir: join(this.#deps.home, "runtime") },
        signal,
      );
      if ("failure" in answer) throw new EngineFailure(answer.failure, { retryable: false });
    }
    const { digest } = workload.artifact;
    const releases = join(dir, "releases");
    const open = (): Promise<Readable> =>
      this.#deps.openBlob(digest).catch((error: unknown) => {
        throw new EngineFailure(cause("artifact_missing", { digest }), { retryable: false, cause: error });
      });
    await unpackBundle(open, join(releases, digest.replace(/^sha256:/, "")), owner, signal);
    const { releases: inUse } = (await this.agent.call("GET", `/v1/stacks/${workload.stackId}`, undefined, signal)) as StackUse;
    await pruneReleases(releases, new Set([...inUse, digest]), keptReleases, Date.now());
  }

  async forget(
    { id, name, volumes }: { readonly id: string; readonly name: string; readonly volumes: "kept" | "none" },
    signal: AbortSignal,
  ): Promise<boolean> {
    if (!(await this.hasEnded({ id, name }, signal))) return false;
    const folder = dirname(this.#volumes(id));
    if (volumes === "kept") {
      for (const part of ["releases", "home", "tmp", "volumes.new"]) await removeTree(join(folder, part));
      return true;
    }
    await removeTree(folder);
    // Its user goes last: as long as a file is left, it has an owner that is known.
    await this.agent.call("DELETE", `/v1/stacks/${id}`, undefined, signal);
    return true;
  }

  readonly volumes: VolumePort = {
    list: async (stack) => {
      const folder = this.#volumes(stack);
      const names = await readdir(folder).catch(() => []);
      return Promise.all(
        names.map(async (name) => ({ name, bytes: await bytesBelow(join(folder, name)), usedBy: await this.#volumeUsers(stack, name) })),
      );
    },
    remove: async (stack, name) => {
      const [component] = await this.#volumeUsers(stack, name);
      if (component !== undefined) throw new BerthError("volume_in_use", { volume: name, component });
      await removeTree(join(this.#volumes(stack), name));
      // Whoever makes a volume of this name again means a new one, see Stacks.volume.
      await rm(join(dirname(this.#volumes(stack)), "volumes.made", name), { force: true });
    },
    snapshot: async (stack, name, signal) => {
      await this.#volumeUsers(stack, name);
      const folder = join(this.#volumes(stack), name);
      if ((await stat(folder).catch(() => undefined))?.isDirectory() !== true)
        throw new BerthError("not_found", { kind: "volume", name, hint: "Nothing has used it yet, or its folder is gone." });
      return packFolder(folder, signal);
    },
    restore: async ({ stack, name }, archive, signal) => {
      const checkFree = async (): Promise<void> => {
        const [component] = await this.#volumeUsers(stack, name);
        if (component !== undefined) throw new BerthError("volume_in_use", { volume: name, component });
      };
      const folder = join(this.#volumes(stack), name);
      if (this.#filling.has(folder)) throw underWay(name);
      this.#filling.add(folder);
      try {
        const { dir, uid, gid } = (await this.agent.call("PUT", `/v1/stacks/${stack}`, undefined, signal)) as StackAnswer;
        const owner = uid === undefined || gid === undefined ? undefined : { uid, gid };
        // The stack's user passes through: it puts the content together itself.
        const beside = join(dir, "volumes.new");
        await mkdir(beside, { recursive: true, mode: 0o700 });
        if (owner !== undefined) await chown(beside, 0, owner.gid);
        await chmod(beside, owner === undefined ? 0o700 : 0o710);
        await fillFolder({ folder, staging: join(beside, name), owner, checkFree }, archive, signal);
      } finally {
        this.#filling.delete(folder);
      }
    },
  };

  #volumes(stackId: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(stackId))
      throw new BerthError("invalid_request", { reason: `${stackId} is not a stack's id` });
    return join(this.#deps.home, "stacks", stackId, "volumes");
  }

  async #volumeUsers(stackId: string, name: string): Promise<string[]> {
    if (!/^[a-z][a-z0-9-]{0,39}$/.test(name)) throw new BerthError("invalid_request", { reason: `${name} is not a volume's name` });
    return (
      (await this.agent.call("GET", `/v1/volumes/${stackId}/${name}`, undefined, AbortSignal.timeout(10_000))) as { usedBy: string[] }
    ).usedBy;
  }
}

const underWay = (volume: string): BerthError =>
  new BerthError("wrong_state", {
    verb: "Restoring",
    reason: `content is being put into volume ${volume} already`,
    hint: "Wait until that has ended.",
  });

async function bytesBelow(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += await bytesBelow(path);
    else if (entry.isFile()) bytes += (await stat(path).catch(() => undefined))?.size ?? 0;
  }
  return bytes;
}
