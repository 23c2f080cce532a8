// Volumes of a daemon as archives, in the folder where the daemon has them. Not by the daemon's own archive calls: podman's says that everything belongs to root, and
// dockerd's forgets the mode of the volume itself and extended attributes; a database would not start on what comes back. So it takes a daemon on this machine; an edge that
// is a container has its folder of volumes.
import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { namePattern } from "@berth/contract/names.ts";
import { BerthError } from "../../core/errors.ts";
import { fillFolder, packFolder } from "../../engines/agent/archive.ts";
import { protocolHeader, protocolVersion } from "../../engines/agent/protocol.ts";
import { volumeLabels, volumeName } from "../../engines/docker/container.ts";
import { detached } from "../../os/detached.ts";
import type { Call } from "../agent/http.ts";
import type { Containers } from "./containers.ts";
import type { Daemon } from "./daemon.ts";

export interface ArchivesDeps {
  readonly daemon: Daemon;
  readonly instances: Pick<Containers, "volumeUsers">;
}

/** Beside the content, within the volume's own folder: the daemon removes it together with the volume. */
const staging = "berth-new";
/** ms that another one waits for what is cleaned up. */
const cleaning = 10_000;

export class Archives {
  readonly #deps: ArchivesDeps;
  /** By the volume's name: settled when content has come in, or nothing of it is left. */
  readonly #filling = new Map<string, Promise<void>>();

  constructor(deps: ArchivesDeps) {
    this.#deps = deps;
  }

  isFilling(stackId: string, volume: string): boolean {
    return this.#filling.has(this.#name(stackId, volume));
  }

  /** Errors: `not_found`, `wrong_state`. */
  async send({ response }: Call, stackId: string, volume: string): Promise<"answered"> {
    const left = new AbortController();
    response.once("close", () => left.abort(new Error("the caller left")));
    const folder = await this.#folder(this.#name(stackId, volume));
    if (folder === undefined) throw new BerthError("not_found", { kind: "volume", name: volume, hint: "Nothing has used it yet." });
    response.writeHead(200, { [protocolHeader]: protocolVersion, "content-type": "application/x-tar" });
    // What fails now breaks the answer off: whoever reads it must not take it for the whole.
    await pipeline(packFolder(folder, left.signal), response).catch(() => response.destroy());
    return "answered";
  }

  /** Errors: `volume_in_use`, `volume_not_empty`, `archive_refused`, `storage_full`, `wrong_state`. */
  async receive(
    { request, response }: Call,
    of: { readonly stackId: string; readonly volume: string; readonly stack: string },
  ): Promise<object> {
    const { instances } = this.#deps;
    const name = this.#name(of.stackId, of.volume);
    const left = new AbortController();
    response.once("close", () => left.abort(new Error("the caller left")));
    const checkFree = (): Promise<void> => {
      const [component] = instances.volumeUsers(of.stackId, of.volume);
      return component === undefined
        ? Promise.resolve()
        : Promise.reject(new BerthError("volume_in_use", { volume: of.volume, component }));
    };
    await this.#turn(name, of.volume);
    const ended = Promise.withResolvers<void>();
    this.#filling.set(name, ended.promise);
    try {
      await this.#fill(name, of, request, checkFree, left.signal);
      return {};
    } finally {
      this.#filling.delete(name);
      ended.resolve();
    }
  }

  async #fill(
    name: string,
    of: { readonly stackId: string; readonly volume: string; readonly stack: string },
    request: Call["request"],
    checkFree: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const { daemon } = this.#deps;
    const before = await daemon.volume(name);
    try {
      if (before === undefined) await daemon.createVolume(name, volumeLabels(daemon.installation, of));
      const folder = await this.#folder(name);
      if (folder === undefined) throw outOfReach("the daemon does not have it after it was made");
      await fillFolder({ folder, staging: join(dirname(folder), staging), checkFree }, detached(request), signal);
    } catch (error) {
      if (before === undefined) await daemon.removeVolume(name);
      throw error;
    }
  }

  /** One that broke off is still being cleaned up after; one that goes on is not waited for. Errors: `wrong_state`. */
  async #turn(name: string, volume: string): Promise<void> {
    for (const until = Date.now() + cleaning; this.#filling.has(name);) {
      if (Date.now() > until)
        throw new BerthError("wrong_state", {
          verb: "Restoring",
          reason: `content is being put into volume ${volume} already`,
          hint: "Wait until that has ended.",
        });
      await Promise.race([this.#filling.get(name), sleep(250)]);
    }
  }

  /** Where the content is; undefined: there is no such volume. Errors: `wrong_state` when that is not on this machine, or not for us. */
  async #folder(name: string): Promise<string | undefined> {
    const found = await this.#deps.daemon.volume(name);
    if (found === undefined) return undefined;
    const folder = found.Mountpoint ?? "";
    if (process.getuid?.() !== 0) throw outOfReach("the edge does not run as root");
    // As both daemons have it. Another machine's folder of that name is not one that has the volume's own name in its path.
    if (
      basename(folder) !== "_data" ||
      basename(dirname(folder)) !== name ||
      (await stat(folder).catch(() => undefined))?.isDirectory() !== true
    )
      throw outOfReach("the daemon keeps its volumes where this machine does not see them");
    return folder;
  }

  #name(stackId: string, volume: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(stackId) || !new RegExp(namePattern).test(volume))
      throw new BerthError("invalid_request", { reason: "these are not a stack's id and the name of a volume" });
    return volumeName(this.#deps.daemon.installation, stackId, volume);
  }
}

const outOfReach = (reason: string): BerthError =>
  new BerthError("wrong_state", {
    verb: "Archiving or restoring a volume",
    reason,
    hint: "It takes an edge on the daemon's machine, as root (docs/guide/volumes.md).",
  });
