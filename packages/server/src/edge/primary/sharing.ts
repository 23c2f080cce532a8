// `maxConnections` of a component is kept by all routers together: each is told what the others serve of it, a moment after that changed.
import type { Ref } from "../../engines/engine.ts";
import type { InFlight } from "../ipc.ts";

/** ms between two tellings of what other routers serve. */
const shareEvery = 100;

/** A router, as far as others have to know what it serves. */
export interface Sharer {
  inFlight: readonly InFlight[];
  /** Whether others were told of what it serves. */
  shares: boolean;
}

export interface SharingDeps<R extends Sharer> {
  /** Whether routers have to know what others serve of it. */
  readonly isLimited: (ref: Ref) => boolean;
  readonly routers: ReadonlySet<R>;
  /** Says to a router what the others serve; whether it needs that is its own business. */
  readonly tell: (router: R, elsewhere: readonly InFlight[]) => void;
}

export class Sharing<R extends Sharer> {
  readonly #deps: SharingDeps<R>;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: SharingDeps<R>) {
    this.#deps = deps;
  }

  /** The router serves this much now. */
  changed(router: R, inFlight: readonly InFlight[]): void {
    router.inFlight = inFlight;
    const shares = inFlight.some(this.#deps.isLimited);
    if (shares || router.shares) this.#soon();
    router.shares = shares;
  }

  /** An entry was put in force that may limit what was not limited before. */
  applied(ref: Ref): void {
    if (this.#deps.isLimited(ref)) this.#soon();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const { routers, isLimited, tell } = this.#deps;
      for (const router of routers) {
        const others = [...routers].filter((other) => other !== router);
        tell(
          router,
          others.flatMap(({ inFlight }) => inFlight.filter(isLimited)),
        );
      }
    }, shareEvery).unref();
  }
}
