// What services are given. app.ts constructs it once; nothing here is reached for globally.
import type { BlobStore } from "../blobs/store.ts";
import type { Access } from "../db/permissions.ts";
import type { Db } from "../db/pool.ts";
import type { SecretBox } from "../db/secretbox.ts";
import type { Engine } from "../engines/engine.ts";
import type { Traffic } from "../engines/traffic.ts";

/** A cluster's two ports, by cluster name. */
export interface Places {
  engine(cluster: string): Engine;
  traffic(cluster: string): Traffic;
}

export interface ResourceDeps {
  readonly db: Db;
  readonly access: Access;
  readonly blobs: BlobStore;
  readonly secretBox: SecretBox;
  readonly places: Places;
  readonly clock: () => Date;
}
