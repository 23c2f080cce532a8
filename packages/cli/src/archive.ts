// Archives of volumes on their way: from the server to a file, from a file to the server, and from the one to the other.
import type { Client } from "@berth/contract/client.ts";
import type { Volume } from "@berth/contract/resources/volumes.ts";
import type { Context } from "./context.ts";
import { Failure, exitCodes } from "./failure.ts";
import { bytes } from "./output/time.ts";

export interface VolumeName {
  readonly stack: string;
  readonly volume: string;
}

/** ms between two lines about how far it is. */
const period = 5_000;

/** The same bytes; says now and then how many there were. `most`: bytes there will be, when that is known. */
export async function* counted(
  ctx: Pick<Context, "out">,
  source: AsyncIterable<Uint8Array>,
  most?: number,
): AsyncGenerator<Uint8Array, number> {
  let done = 0;
  let said = Date.now();
  for await (const chunk of source) {
    done += chunk.length;
    if (Date.now() - said > period) {
      said = Date.now();
      ctx.out.progress(most === undefined ? `${bytes(done)} so far` : `${bytes(done)} of ${bytes(most)}`);
    }
    yield chunk;
  }
  return done;
}

/** An archive that breaks off must not be taken for a whole one. */
export async function* snapshotOf(ctx: Context, api: Client, params: VolumeName): AsyncGenerator<Uint8Array> {
  const stream = await api.snapshotVolume({ params }, { signal: ctx.signal });
  try {
    yield* counted(ctx, stream as unknown as AsyncIterable<Uint8Array>);
  } catch (error) {
    ctx.signal.throwIfAborted();
    throw new Failure(exitCodes.failed, "The archive broke off before its end; the server's log says why.", { cause: error });
  }
}

/** Says that what comes out is of files that are written to meanwhile. */
export async function warnInUse(ctx: Context, api: Client, { stack, volume }: VolumeName): Promise<void> {
  const { items } = await api.listAllVolumes({ query: { search: volume, limit: 500 } }, { signal: ctx.signal });
  const users = items.find((item) => item.stack === stack && item.name === volume)?.usedBy ?? [];
  if (users.length > 0)
    ctx.out.note(
      `${users.join(", ")} may be using it: each file is taken as it is at its moment, as after a power cut. Stop ${users.length === 1 ? "it" : "them"} first where that is not enough.`,
    );
}

export async function restored(ctx: Context, api: Client, params: VolumeName, open: () => AsyncIterable<Uint8Array>): Promise<Volume> {
  return api.restoreVolume(
    { params, contentType: "application/x-tar", body: () => ReadableStream.from(open()) as ReadableStream<Uint8Array> },
    { signal: ctx.signal },
  );
}
