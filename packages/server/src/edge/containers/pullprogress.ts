// How far a pull is, from what the daemon tells of each layer: those that are there, bytes that came, bytes that there are. Reads no clock and no daemon.
import type { PullState } from "../../engines/agent/protocol.ts";

/** One message of the stream: `POST /images/create` of the Docker Engine API. Podman's have no figures. */
export interface PullMessage {
  readonly id?: string;
  readonly status?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

interface Layer {
  /** Bytes that came; all of them once it is downloaded. */
  readonly bytes: number;
  /** undefined: the daemon has not asked for it yet. */
  readonly total: number | undefined;
  readonly there: boolean;
}

export class PullProgress {
  readonly #layers = new Map<string, Layer>();

  take({ id, status = "", progressDetail }: PullMessage): void {
    // What is told of the tag, or of all of it, is no layer.
    if (id === undefined || !layerWords.test(status)) return;
    const known = this.#layers.get(id) ?? { bytes: 0, total: undefined, there: false };
    const total = progressDetail?.total ?? known.total;
    const downloaded = /^(?:Verifying|Download complete|Extracting|Pull complete)/.test(status);
    const bytes = downloaded ? (known.total ?? known.bytes) : (progressDetail?.current ?? known.bytes);
    this.#layers.set(id, {
      // A download that begins again after a cut is where it was.
      bytes: Math.max(bytes, known.bytes),
      // While it is unpacked the figures are of something else.
      total: downloaded ? known.total : total,
      there: known.there || /^(?:Pull complete|Already exists)/.test(status),
    });
  }

  /** `quiet`: ms since the daemon said anything. */
  state(quiet: number): PullState {
    const all = [...this.#layers.values()];
    const coming = all.filter(({ there, total }) => !there || total !== undefined);
    const known = coming.every(({ total }) => total !== undefined);
    const sum = (of: (layer: Layer) => number): number => coming.reduce((so, layer) => so + of(layer), 0);
    return {
      layers: all.length,
      there: all.filter(({ there }) => there).length,
      bytes: sum(({ bytes }) => bytes),
      ...(known && coming.length > 0 ? { total: sum(({ total = 0 }) => total) } : {}),
      quiet,
    };
  }
}

const layerWords = /^(?:Pulling fs layer|Waiting|Downloading|Verifying|Download complete|Extracting|Pull complete|Already exists|Retrying)/;
