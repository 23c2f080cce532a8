// How components of a stack find each other: each has an address of its own in the upper half of the stack's network, where the edge stands for it, and its name
// leads there by the hosts file that all containers of the stack see. Names that are added later reach containers that run.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { cause } from "@berth/contract/causes.ts";
import { EngineFailure } from "../../engines/engine.ts";
import { errorText, readJson, writeJson } from "../agent/files.ts";
import type { Networks } from "./networks.ts";

/** What is kept of a stack: who stands where, as the place within the upper half. */
interface Kept {
  readonly stack: string;
  readonly places: Readonly<Record<string, number>>;
}

const run = promisify(execFile);
const always = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";

export class Doors {
  readonly #dir: string;
  readonly #networks: Networks;
  readonly #claim: (range: string) => Promise<void>;
  readonly #stacks = new Map<string, Kept>();
  /** Stacks whose addresses this machine answers for. */
  readonly #open = new Map<string, Promise<void>>();

  /** `dir`: below the home folder, and seen at the same path by the daemon. `claim`: has this machine answer for a range of addresses. */
  constructor(dir: string, networks: Networks, claim: (range: string) => Promise<void> = claimRange) {
    this.#claim = claim;
    this.#dir = dir;
    this.#networks = networks;
    mkdirSync(dir, { recursive: true, mode: 0o711 });
    for (const name of readdirSync(dir)) {
      const id = name.replace(/\.json$/, "");
      const kept = id === name ? undefined : (readJson(join(dir, name)) as Kept | undefined);
      if (kept !== undefined) this.#stacks.set(id, kept);
    }
  }

  /** The file that containers of the stack see as /etc/hosts. Its folder is not listed by others, and what it says is no secret. */
  hostsFile(stackId: string): string {
    const file = join(this.#dir, `${stackId}.hosts`);
    if (!existsSync(file)) this.#writeHosts(stackId);
    return file;
  }

  /** Its address, from now on. Errors: EngineFailure, DockerError. */
  async of(stackId: string, stack: string, component: string): Promise<string> {
    await this.#networks.open(stackId, stack);
    const known = this.#stacks.get(stackId) ?? { stack, places: {} };
    if (known.places[component] === undefined) {
      const used = new Set(Object.values(known.places));
      let place = 1;
      while (used.has(place)) place += 1;
      const kept: Kept = { stack, places: { ...known.places, [component]: place } };
      writeJson(join(this.#dir, `${stackId}.json`), kept);
      this.#stacks.set(stackId, kept);
      this.#writeHosts(stackId);
    }
    await this.#answerFor(stackId);
    const address = this.#networks.doorAddress(stackId, this.#stacks.get(stackId)?.places[component] ?? 0);
    await this.#networks.openDoor({ stackId, stack, component }, address);
    return address;
  }

  /** After a boot of the machine nothing answers for them any more. */
  async reopen(): Promise<void> {
    for (const [stackId, { stack, places }] of this.#stacks) {
      await this.#networks.open(stackId, stack);
      this.#writeHosts(stackId);
      await this.#answerFor(stackId);
      for (const [component, place] of Object.entries(places))
        await this.#networks.openDoor({ stackId, stack, component }, this.#networks.doorAddress(stackId, place));
    }
  }

  async forget(stackId: string): Promise<void> {
    const open = this.#open.get(stackId);
    this.#open.delete(stackId);
    if (open !== undefined) await ip(["route", "del", "local", this.#networks.doors(stackId), "dev", "lo"]).catch(() => undefined);
    this.#stacks.delete(stackId);
    for (const kind of ["json", "hosts"]) rmSync(join(this.#dir, `${stackId}.${kind}`), { force: true });
  }

  /** In place, since containers hold the file itself and not its name. */
  #writeHosts(stackId: string): void {
    const places = Object.entries(this.#stacks.get(stackId)?.places ?? {});
    const lines = places.map(([name, place]) => `${this.#networks.doorAddress(stackId, place)} ${name}\n`);
    writeFileSync(join(this.#dir, `${stackId}.hosts`), always + lines.join(""), { mode: 0o644 });
  }

  #answerFor(stackId: string): Promise<void> {
    const opening =
      this.#open.get(stackId) ??
      this.#claim(this.#networks.doors(stackId)).catch((error: unknown) => {
        this.#open.delete(stackId);
        throw new EngineFailure(cause("stack_network_failed", { reason: errorText(error).split("\n").at(-1)?.trim() ?? "" }), {
          retryable: true,
          cause: error,
        });
      });
    this.#open.set(stackId, opening);
    return opening;
  }
}

/** ip-route(8): the type `local` makes every address of a range this machine's own, so that programs may listen on them and neighbours are answered. */
const claimRange = (range: string): Promise<void> => ip(["route", "replace", "local", range, "dev", "lo"]);

async function ip(args: readonly string[]): Promise<void> {
  await run("ip", [...args], { env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }, timeout: 10_000 });
}
