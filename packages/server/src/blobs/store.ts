// The blob store's interface: bytes by the hash of their content. Nothing outside this folder may know how or where they are kept.
import type { Readable } from "node:stream";

export interface Blob {
  readonly digest: string;
  /** Bytes. */ readonly size: number;
  readonly storedAt: Date;
}

export interface BlobStore {
  /**
   * Keeps a stream under the hash of its content (`sha256:<hex>`); keeping the same again only renews `storedAt`. With `expected`,
   * throws `invalid_request` when the content is another. Throws `storage_full`. After it returns, the bytes survive a crash.
   */
  put(stream: Readable, options?: { readonly expected?: string }, signal?: AbortSignal): Promise<{ digest: string; size: number }>;
  /** The bytes; the stream fails at its end when they are not what the digest says. Throws `not_found`. */
  open(digest: string, signal?: AbortSignal): Promise<Readable>;
  /** The size in bytes; undefined when it is not kept. */
  has(digest: string): Promise<number | undefined>;
  /** Absent is success. With `storedBefore`, one that was stored again since then stays. */
  remove(digest: string, options?: { readonly storedBefore?: Date }): Promise<void>;
  list(): AsyncIterable<Blob>;
}
