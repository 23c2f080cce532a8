// A router in memory that behaves as the edge does, for tests of the planner and the component loop: numbered entries under fences, readiness as the engine
// tells it, requests in flight as the test says. It decides nothing.
import { contentHash } from "../core/canonical.ts";
import { BerthError } from "../core/errors.ts";
import type { Engine, Epoch, Fence, Ref } from "./engine.ts";
import type { Applied, ProbeAnswer, Traffic, TrafficEntry, GivenCertificate, HostProof } from "./traffic.ts";

interface Stored {
  readonly entry: TrafficEntry | undefined;
  readonly fence: Fence;
}
const key = (ref: Ref): string => `${ref.stack}/${ref.component}`;

export class FakeTraffic implements Traffic {
  readonly #engine: Pick<Engine, "observe">;
  readonly #stored = new Map<string, Stored>();
  #epoch = 0;
  readonly #inFlight = new Map<string, number>();
  /** Every entry that was put in force, in order; undefined = removed. */
  readonly history: { readonly ref: Ref; readonly entry: TrafficEntry | undefined }[] = [];
  certificates: readonly GivenCertificate[] = [];
  readonly proofs = new Map<string, HostProof>();

  constructor(engine: Pick<Engine, "observe">) {
    this.#engine = engine;
  }

  /** So many requests are on their way in this instance from now on. */
  setInFlight(instance: string, requests: number): void {
    this.#inFlight.set(instance, requests);
  }

  entry(ref: Ref): TrafficEntry | undefined {
    return this.#stored.get(key(ref))?.entry;
  }

  readEntry(ref: Ref): Promise<TrafficEntry | undefined> {
    return Promise.resolve(this.entry(ref));
  }

  async raiseEpoch({ epoch }: Epoch, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (epoch < this.#epoch) throw new BerthError("stale_generation", { seen: `epoch ${this.#epoch}`, given: epoch });
    this.#epoch = epoch;
  }

  /** The edge starts again without what it knew. */
  forget(ref: Ref): void {
    this.#stored.delete(key(ref));
  }

  async apply(entry: TrafficEntry, fence: Fence, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#put(entry.ref, entry, fence);
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#stored.has(key(ref))) this.#put(ref, undefined, fence);
  }

  #put(ref: Ref, entry: TrafficEntry | undefined, fence: Fence): void {
    const known = this.#stored.get(key(ref))?.fence;
    if (fence.epoch < this.#epoch) throw new BerthError("stale_generation", { seen: `epoch ${this.#epoch}`, given: fence.epoch });
    if (known !== undefined && (fence.epoch < known.epoch || (fence.epoch === known.epoch && fence.generation < known.generation)))
      throw new BerthError("stale_generation", { seen: known.generation, given: fence.generation });
    this.#stored.set(key(ref), { entry, fence });
    this.history.push({ ref, entry });
  }

  async applied(ref: Ref, signal: AbortSignal): Promise<Applied> {
    const stored = this.#stored.get(key(ref));
    if (stored?.entry === undefined) return { generation: 0, digest: "", endpoints: [], problems: [] };
    const ready = new Map((await this.#engine.observe(ref, signal))?.instances.map((instance) => [instance.id, instance.ready]));
    return {
      generation: stored.fence.generation,
      digest: contentHash(stored.entry),
      problems: [],
      endpoints: instancesOf(stored.entry).map((instance) => ({
        instance,
        ready: ready.get(instance) === true,
        inFlight: this.#inFlight.get(instance) ?? 0,
        requests: 0,
        errors: 0,
      })),
    };
  }

  async list(signal: AbortSignal): Promise<readonly { readonly ref: Ref; readonly generation: number }[]> {
    signal.throwIfAborted();
    return [...this.#stored.values()].flatMap(({ entry, fence }) =>
      entry === undefined ? [] : [{ ref: entry.ref, generation: fence.generation }],
    );
  }

  async setCertificates(certificates: readonly GivenCertificate[], _fence: Fence, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.certificates = certificates;
  }

  async setProof(proof: HostProof, _epoch: Epoch, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.proofs.set(proof.token, proof);
  }

  async removeProof(token: string, _epoch: Epoch, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.proofs.delete(token);
  }

  /** 200 from an instance of that release that is routed and ready; 503 otherwise. */
  async probe(
    target: { readonly ref: Ref; readonly port: string; readonly host: string; readonly path: string; readonly releaseHash: string },
    signal: AbortSignal,
  ): Promise<ProbeAnswer> {
    const url = this.publicUrl(target.host, target.path);
    const port = this.entry(target.ref)?.ports.find((one) => one.hosts.some(({ host }) => host === target.host));
    const ready = new Set(
      (await this.#engine.observe(target.ref, signal))?.instances.filter((instance) => instance.ready).map(({ id }) => id),
    );
    const serves =
      port?.tracks.some((track) =>
        track.endpoints.some(
          (endpoint) => endpoint.releaseHash === target.releaseHash && endpoint.state === "active" && ready.has(endpoint.instance),
        ),
      ) === true;
    return { url, took: 1, ...(serves ? { status: 200, releaseHash: target.releaseHash } : { status: 503 }) };
  }

  readonly publicUrl = (host: string, path: string): string => `http://${host}:8080${path}`;
}

function instancesOf(entry: TrafficEntry): string[] {
  return [...new Set(entry.ports.flatMap((port) => port.tracks.flatMap((track) => track.endpoints.map((endpoint) => endpoint.instance))))];
}
