// Certificates of the installation: taken when they can be used, put in force at every edge by the queue, and spoken of before they expire.
import type { Certificate } from "@berth/contract/resources/certificates.ts";
import { certificateVerbs } from "../../core/allowed.ts";
import { certificateNotes, checkCertificate, expirySoon, hostWarnings } from "../../core/certificates.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import * as store from "./store.ts";

export type CertificateService = ReturnType<typeof createCertificateService>;

export function createCertificateService(deps: ResourceDeps) {
  return {
    async list(query: ListRequest): Promise<Page<Certificate>> {
      const page = slice(store.certificateList, query);
      return toPage(await store.listCertificates(deps.db, page), page, (row) => present(row, deps.clock()));
    },

    /** For those who serve at these hosts: what is wrong with the certificates of them now. */
    async warnings(): Promise<(hosts: readonly string[]) => Certificate["warnings"]> {
      const now = deps.clock();
      const certificates = await store.servingWhenEnding(deps.db, new Date(now.getTime() + expirySoon));
      return (hosts) => hostWarnings(hosts, certificates, now).map(({ code, params }) => ({ code, params: { ...params } }));
    },

    /** Errors: `certificate_refused`. */
    async set(call: Call, name: string, given: { chain: string; key: string; isDefault?: boolean }): Promise<Certificate> {
      const facts = checkCertificate(given.chain, given.key, deps.clock());
      return transaction(deps.db, async (trx) => {
        const { chain, key, isDefault } = given;
        const row = await store.putCertificate(trx, deps.secretBox, { name, chain, key, facts, isDefault, by: call.by });
        await audit(trx, call, "certificates.set", "installation", {
          certificate: name,
          hosts: facts.hosts.join(" "),
          fingerprint: facts.fingerprint,
        });
        await store.wakeEdges(trx);
        return present(row, deps.clock());
      });
    },

    /** Errors: `not_found`. */
    async remove(call: Call, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        if (!(await store.deleteCertificate(trx, name)))
          throw new BerthError("not_found", { kind: "certificate", name, hint: "`berth certificates list` shows them." });
        await audit(trx, call, "certificates.delete", "installation", { certificate: name });
        await store.wakeEdges(trx);
      });
    },
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
      { notBefore: row.not_before, notAfter: row.not_after, length: row.chain_length, selfSigned: row.self_signed },
      now,
    ).map(({ code, params }) => ({ code, params: { ...params } })),
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    updatedBy: row.updated_by,
    // Who sees one may do everything with it: the routes ask for the same permission.
    allowed: certificateVerbs(),
  };
}
