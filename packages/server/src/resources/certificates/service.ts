// Certificates of the installation: taken when they can be used, put in force at every edge by the queue, and spoken of before they expire.
import type { AutomaticCertificate, Certificate } from "@berth/contract/resources/certificates.ts";
import { automaticCertificateVerbs, certificateVerbs } from "../../core/allowed.ts";
import { certificateNotes, checkCertificate, expirySoon, hostWarnings } from "../../core/certificates.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { createRecent } from "../../db/recent.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { audit } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import * as automatic from "./automatic.ts";
import * as store from "./store.ts";

export type CertificateService = ReturnType<typeof createCertificateService>;

/** ms for which every list and view of components is told the same of certificates: that one ends soon was so for days. */
const recently = 2_000;
const minute = 60_000;

export function createCertificateService(deps: ResourceDeps) {
  const serving = createRecent<Awaited<ReturnType<typeof store.servingWhenEnding>>>(recently, () => performance.now());
  return {
    async list(query: ListRequest): Promise<Page<Certificate>> {
      const page = slice(store.certificateList, query);
      return toPage(await store.listCertificates(deps.db, page), page, (row) => present(row, deps.clock()));
    },

    /** Errors: `not_found`. */
    async show(name: string): Promise<Certificate> {
      const row = await store.findCertificate(deps.db, name);
      if (row === undefined) throw missing("certificate", name);
      return present(row, deps.clock());
    },

    async listAutomatic(query: ListRequest): Promise<Page<AutomaticCertificate>> {
      const page = slice(automatic.automaticList, query);
      return toPage(await automatic.listAutomatic(deps.db, page), page, presentAutomatic);
    },

    /** At once, whatever was to be waited for. Errors: `not_found`. */
    async renew(call: Call, host: string): Promise<AutomaticCertificate> {
      return transaction(deps.db, async (trx) => {
        const row = await automatic.findAutomatic(trx, host);
        if (row === undefined) throw missing("automatic certificate", host);
        // An operator's word ends every pause.
        const change = row.phase === "issued" ? { renew_at: deps.clock() } : { next_at: null, attempts: row.failures };
        await automatic.changeAutomatic(trx, host, change);
        await audit(trx, call, "certificates.renew", "installation", { host });
        await enqueue(trx, { kind: automatic.hostKind, key: host, cluster: row.cluster });
        return presentAutomatic({ ...row, ...change });
      });
    },

    /** For those who serve at these hosts: what is wrong with the certificates of them now. */
    async warnings(): Promise<(hosts: readonly string[]) => Certificate["warnings"]> {
      const now = deps.clock();
      const at = Math.floor(now.getTime() / minute);
      const certificates = await serving.get(String(at), () => store.servingWhenEnding(deps.db, new Date(now.getTime() + expirySoon)));
      return (hosts) => hostWarnings(hosts, certificates, now).map(({ code, params }) => ({ code, params: { ...params } }));
    },

    /** Errors: `certificate_refused`. */
    async set(call: Call, name: string, given: { chain: string; key: string; isDefault?: boolean }): Promise<Certificate> {
      const facts = checkCertificate(given.chain, given.key, deps.clock());
      const made = await transaction(deps.db, async (trx) => {
        const { chain, key, isDefault } = given;
        const row = await store.putCertificate(trx, deps.secretBox, { name, chain, key, facts, isDefault, by: call.by });
        await audit(trx, call, "certificates.set", "installation", {
          certificate: name,
          hosts: facts.hosts.join(" "),
          fingerprint: facts.fingerprint,
        });
        await store.wakeEdges(trx);
        await automatic.wakeHosts(trx);
        return present(row, deps.clock());
      });
      serving.forget();
      return made;
    },

    /** Errors: `not_found`. */
    async remove(call: Call, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        if (!(await store.deleteCertificate(trx, name))) throw missing("certificate", name);
        await audit(trx, call, "certificates.delete", "installation", { certificate: name });
        await store.wakeEdges(trx);
        await automatic.wakeHosts(trx);
      });
      serving.forget();
    },
  };
}

const missing = (kind: string, name: string): BerthError =>
  new BerthError("not_found", { kind, name, hint: "`berth certificates list` shows them." });

function presentAutomatic(row: automatic.AutomaticRow): AutomaticCertificate {
  const instant = <K extends string>(key: K, at: Date | null): Partial<Record<K, string>> =>
    at === null ? {} : ({ [key]: at.toISOString() } as Record<K, string>);
  return {
    host: row.host,
    cluster: row.cluster,
    phase: row.phase,
    ...(row.certificate === null ? {} : { certificate: row.certificate }),
    ...instant("notAfter", row.ends_at),
    ...instant("renewsAt", row.renew_at),
    ...instant("triesAgainAt", row.phase === "issued" ? null : row.next_at),
    failures: row.failures,
    ...instant("failedAt", row.failed_at),
    ...(row.cause === null ? {} : { cause: row.cause }),
    allowed: automaticCertificateVerbs(),
  };
}

function present(row: store.CertificateRow, now: Date): Certificate {
  return {
    name: row.name,
    subject: row.subject,
    issuer: row.issuer,
    hosts: row.hosts,
    notBefore: row.not_before.toISOString(),
    notAfter: row.not_after.toISOString(),
    fingerprint: row.fingerprint,
    isDefault: row.is_default,
    warnings: certificateNotes(
      {
        notBefore: row.not_before,
        notAfter: row.not_after,
        length: row.chain_length,
        selfSigned: row.self_signed,
        renews: row.kept_by !== null,
      },
      now,
    ).map(({ code, params }) => ({ code, params: { ...params } })),
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    updatedBy: row.updated_by,
    ...(row.renews_at === undefined || row.renews_at === null ? {} : { renewsAt: row.renews_at.toISOString() }),
    // Who sees one may do everything with it: the routes ask for the same permission.
    allowed: certificateVerbs(),
  };
}
