// Gives a cluster's edge the certificates there are. The whole set each time: an edge that lost something, or was away, has it again (promise 2).
import type { Db } from "../db/pool.ts";
import type { SecretBox } from "../db/secretbox.ts";
import type { Places } from "../resources/deps.ts";
import { openCertificates } from "../resources/certificates/store.ts";

export interface CertificateLoopDeps {
  readonly db: Db;
  readonly places: Places;
  readonly secretBox: SecretBox;
  readonly installation: () => { readonly id: string; readonly epoch: number };
}

/** `fence`: of the claimed row, so that a worker that lost its lease cannot bring an older set back. */
export async function reconcileCertificates(deps: CertificateLoopDeps, cluster: string, fence: number, signal: AbortSignal): Promise<void> {
  const { id: installation, epoch } = deps.installation();
  const certificates = await openCertificates(deps.db, deps.secretBox);
  await deps.places.traffic(cluster).setCertificates(certificates, { installation, epoch, generation: fence }, signal);
}
