// The content of a volume as a tar archive, and a volume from one: by GNU tar in a pod that has the volume, over the stream of a command. Nothing of an archive is kept here, what
// breaks off is an error, and content comes into a volume whole or not at all.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { publicCatalogue } from "../../core/image/catalogue.ts";
import { BerthError } from "../../core/errors.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import type { VolumeRef } from "../engine.ts";
import { failureOf } from "./failures.ts";
import { Helper, unable, volumeFolder, type HelperOrder } from "./helper.ts";
import type { Images } from "./images.ts";
import { digest } from "./names.ts";
import type { Namespaces } from "./namespaces.ts";
import type { Claim } from "./objects.ts";
import { packed, packing, saidIn } from "./packed.ts";
import { contentFolder } from "./pod.ts";
import type { Volumes } from "./volumes.ts";

export interface ArchivesDeps {
  readonly api: KubeApi;
  /** As people know it. */
  readonly cluster: string;
  readonly installation: string;
  readonly volumes: Volumes;
  readonly images: Images;
  readonly namespaces: Namespaces;
  /** Has GNU tar, a shell and coreutils; absent: Debian's. */
  readonly archiveImage?: string | undefined;
}

const content = `${volumeFolder}/${contentFolder}`;
/** Beside the content, where no instance sees it. */
const staging = `${volumeFolder}/berth-new`;
const common = ["--numeric-owner", "--xattrs", "--xattrs-include=*"];
const pack = [
  "--create",
  "--file=-",
  "--format=posix",
  ...common,
  "--pax-option=delete=atime,delete=ctime",
  "--one-file-system",
  "--sparse",
];
const unpack = ["--extract", "--file=-", "--same-owner", "--same-permissions", "--delay-directory-restore", ...common];
const notEmpty = 10;
const nothingThere = 11;
/** ms for a fresh look and for taking back what was begun. */
const cleaning = 30_000;

const isEmpty = `[ -z "$(ls -A ${content} 2>/dev/null)" ] || exit ${String(notEmpty)}`;
const scripts = {
  look: `[ -d ${content} ] || exit ${String(nothingThere)}`,
  begin: `set -e; ${isEmpty}; rm -rf ${staging}; mkdir -m 755 ${staging}`,
  // A folder takes the place of an empty one in one step.
  commit: `set -e; sync -f ${staging}; ${isEmpty}; mv -T ${staging} ${content}; sync -f ${volumeFolder}`,
  takeBack: `rm -rf ${staging}`,
} as const;

export class Archives {
  readonly #deps: ArchivesDeps;
  readonly #image: string;

  constructor(deps: ArchivesDeps) {
    this.#deps = deps;
    this.#image = deps.archiveImage ?? publicCatalogue.os;
  }

  /** Errors: `not_found` when there is no content, `wrong_state` when there can be no pod for it; KubeError, KubeUnreachable. */
  async snapshot(stackId: string, volume: string, signal: AbortSignal): Promise<Readable> {
    const claim = await this.#deps.volumes.find(stackId, volume, signal);
    // One that waits for its first user has nothing in it.
    if (claim === undefined || claim.status?.phase !== "Bound") throw nothing(volume);
    const helper = await this.#helper("snapshot", claim, signal);
    try {
      const looked = await helper.run(["sh", "-c", scripts.look], signal);
      if (looked.exitCode === nothingThere) throw nothing(volume);
      if (looked.exitCode !== 0) throw unable(looked.said.trim() || `the shell ended with ${String(looked.exitCode)}`);
      const running = await helper.exec(packing([...pack, "-C", content, "."]), signal, { stdin: true });
      const archive = packed(running, (error) => failureOf(this.#deps.cluster, error) ?? error);
      archive.once("close", () => void helper[Symbol.asyncDispose]());
      return archive;
    } catch (error) {
      await helper[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Errors: `volume_in_use`, `volume_not_empty`, `archive_refused`, `storage_full`, `wrong_state` when there can be no pod for it or another one fills it; what the archive's own
   * stream failed of; KubeError, KubeUnreachable, EngineFailure of the namespace.
   */
  async restore({ stack, stackName, name, namespace }: VolumeRef, archive: Readable, signal: AbortSignal): Promise<void> {
    const { volumes, namespaces } = this.#deps;
    // Whoever reads it later hears of it then.
    archive.on("error", () => undefined);
    try {
      await volumes.checkFree(stack, name, signal);
      const ref = { stack: stackName, component: "", ...(namespace === undefined ? {} : { namespace }) };
      await namespaces.ensure({ ref, stackId: stack }, signal);
      await namespaces.protect(ref, signal);
      const { claim, isNew } = await volumes.make({ ref, stackId: stack }, name, signal);
      try {
        await using helper = await this.#helper("restore", claim, signal);
        await this.#fill(helper, () => volumes.checkFree(stack, name, signal), archive, signal);
      } catch (error) {
        if (isNew) await volumes.removeClaim(claim, AbortSignal.timeout(cleaning)).catch(() => undefined);
        throw error;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      archive.destroy();
    }
  }

  async #helper(does: HelperOrder["does"], { metadata }: Claim, signal: AbortSignal): Promise<Helper> {
    const { api, installation, volumes, images } = this.#deps;
    const { namespace = "", name: claim } = metadata;
    const part = does === "restore" ? digest(claim) : randomBytes(8).toString("hex");
    const node = volumes.nodeOf(namespace, claim);
    await images.allow(namespace, this.#image, signal);
    return Helper.start(api, { installation, namespace, name: `berth-${does}-${part}`, claim, does, image: this.#image, node }, signal);
  }

  async #fill(helper: Helper, checkFree: () => Promise<void>, archive: Readable, signal: AbortSignal): Promise<void> {
    check(await helper.run(["sh", "-c", scripts.begin], signal));
    try {
      await this.#unpack(helper, archive, signal);
      await checkFree();
      check(await helper.run(["sh", "-c", scripts.commit], signal));
    } catch (error) {
      await helper.run(["sh", "-c", scripts.takeBack], AbortSignal.timeout(cleaning)).catch(() => undefined);
      throw error;
    }
  }

  async #unpack(helper: Helper, archive: Readable, signal: AbortSignal): Promise<void> {
    // Not by the caller's signal: tar is to have ended before what it wrote is taken back.
    const cut = new AbortController();
    const running = await helper.exec(["tar", ...unpack, "-C", staging], cut.signal, { stdin: true });
    const said = lastWords(running.stderr);
    running.stdout.resume();
    const stdin = running.stdin;
    if (stdin === undefined) throw new TypeError("a command with an input has one");
    stdin.on("error", () => undefined);
    running.stdout.on("error", () => undefined);
    const ended = running.exit.then(({ exitCode }) => {
      if (exitCode !== 0) throw refusalOf(said(), exitCode);
    });
    const leave = new AbortController();
    try {
      // An archive that fails after its last block was whole for nobody: what is left of it is read too.
      await Promise.all([ended, feed(archive, stdin, AbortSignal.any([signal, leave.signal]))]);
    } catch (error) {
      leave.abort(error);
      stdin.end();
      const late = setTimeout(() => cut.abort(new Error("it does not end")), cleaning);
      await running.exit.catch(() => undefined);
      clearTimeout(late);
      throw error;
    }
  }
}

/** Writes all of it, as fast as it is taken; goes on reading when nobody takes it any more. Errors: the source's, the signal's reason. */
async function feed(source: Readable, sink: Writable, signal: AbortSignal): Promise<void> {
  const gone = once(sink, "close").then(() => undefined);
  const abort = (): void => void source.destroy(signal.reason as Error);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    for await (const chunk of source) if (!sink.destroyed && !sink.write(chunk)) await Promise.race([once(sink, "drain"), gone]);
    if (!sink.destroyed) sink.end();
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function check({ exitCode, said }: { readonly exitCode: number; readonly said: string }): void {
  if (exitCode === notEmpty || /Directory not empty/.test(said)) throw new BerthError("volume_not_empty", {});
  if (exitCode !== 0) throw isFull(said) ? full() : unable(said.trim().slice(0, 500) || `the shell ended with ${String(exitCode)}`);
}

const isFull = (words: string): boolean => /No space left on device|Disk quota exceeded|Wrote only \d+ of \d+ bytes/.test(words);
const full = (): BerthError => new BerthError("storage_full", { what: "volumes" });

function refusalOf(words: string, exitCode: number): BerthError {
  if (isFull(words)) return full();
  // By whoever took its memory, or its pod.
  if (exitCode > 128) return unable(`tar was ended by a signal (${String(exitCode - 128)})`);
  return new BerthError("archive_refused", {
    reason: (
      words.split("\n").find((line) => line !== "" && !/Exiting with failure/.test(line)) ?? `tar ended with ${String(exitCode)}`
    ).replace(/\.$/, ""),
    hint: "Send a tar archive as `berth volumes snapshot` writes them, not compressed.",
  });
}

const nothing = (volume: string): BerthError =>
  new BerthError("not_found", { kind: "volume", name: volume, hint: "Nothing has used it yet." });

/** The end of what it says; bytes beyond 8 KiB are forgotten. */
function lastWords(stream: Readable | undefined): () => string {
  let text = "";
  stream?.setEncoding("utf8").on("data", (chunk: string) => (text = (text + chunk).slice(-8_192)));
  stream?.on("error", () => undefined);
  return () => saidIn(text);
}
