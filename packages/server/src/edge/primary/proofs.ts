// What proves hosts to certificate authorities, for as long as one asks: on disk, since the edge may be replaced in the middle of it, and in every router before
// it is acknowledged. Must never grow: what is not taken back is forgotten.
import { readFile } from "node:fs/promises";
import { BerthError } from "../../core/errors.ts";
import type { Epoch } from "../../engines/engine.ts";
import type { HostProof } from "../../engines/traffic.ts";
import { writeDurably } from "../../os/files.ts";

export interface HeldProofsDeps {
  readonly file: string;
  readonly installation: string;
  readonly tell: (proofs: readonly HostProof[]) => Promise<void>;
  /** The newest that the edge has seen. */
  readonly epoch: () => number;
  /** Unix ms. */
  readonly now: () => number;
}

/** At once; a server asks for a few hosts at a time. */
const most = 1_000;

export class HeldProofs {
  readonly #deps: HeldProofsDeps;
  #all: readonly HostProof[];
  #last: Promise<unknown> = Promise.resolve();

  private constructor(deps: HeldProofsDeps, all: readonly HostProof[]) {
    this.#deps = deps;
    this.#all = all;
  }

  /** With what is on disk; a file that cannot be read holds nothing that the control plane would not send again. */
  static async open(deps: HeldProofsDeps): Promise<HeldProofs> {
    try {
      const { proofs } = JSON.parse(await readFile(deps.file, "utf8")) as { proofs: readonly HostProof[] };
      return new HeldProofs(
        deps,
        proofs.filter(({ until }) => until > deps.now()),
      );
    } catch {
      return new HeldProofs(deps, []);
    }
  }

  get all(): readonly HostProof[] {
    return this.#all;
  }

  /** Errors: `stale_generation`, `wrong_state` (another installation). */
  put(epoch: Epoch, proof: HostProof): Promise<void> {
    return this.#change(epoch, (now) =>
      [...this.#all.filter(({ token, until }) => token !== proof.token && until > now), proof].slice(-most),
    );
  }

  /** Errors: as `put`. */
  remove(epoch: Epoch, gone: string): Promise<void> {
    return this.#change(epoch, (now) => this.#all.filter(({ token, until }) => token !== gone && until > now));
  }

  /** Resolves when no change is under way. */
  async idle(): Promise<void> {
    await this.#last;
  }

  #change(given: Epoch, changed: (now: number) => readonly HostProof[]): Promise<void> {
    const mine = this.#last.then(async () => {
      const { installation, epoch, file, tell, now } = this.#deps;
      if (given.installation !== installation)
        throw new BerthError("wrong_state", {
          verb: "This change",
          reason: "the edge belongs to another installation",
          hint: "`berth doctor` shows which edge answers here.",
        });
      if (given.epoch < epoch()) throw new BerthError("stale_generation", { seen: `epoch ${String(epoch())}`, given: given.epoch });
      this.#all = changed(now());
      await writeDurably(file, JSON.stringify({ proofs: this.#all }));
      await tell(this.#all);
    });
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}
