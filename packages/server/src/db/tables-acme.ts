// The tables of 0009_automatic_certificates.sql as the program sees them.
import type { Cause } from "@berth/contract/causes.ts";
import type { ColumnType, Generated } from "kysely";

type At = ColumnType<Date, Date | string | undefined, Date | string>;
type JsonOrNull<T> = ColumnType<T | null, string | null | undefined, string | null>;
type MaybeAt = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;

export type AutomaticPhase = "waiting" | "ordering" | "proving" | "issuing" | "issued";

/** What a host is being proved with. */
export interface KeptProof {
  readonly type: "http-01" | "dns-01";
  readonly token: string;
  readonly answer: string;
}

export interface AcmeTables {
  acme_accounts: { cluster: string; directory: string; ciphertext: string; url: string | null; contact: Generated<string>; created_at: At };
  automatic_certificates: {
    host: string;
    cluster: string;
    wanted: Generated<boolean>;
    phase: Generated<AutomaticPhase>;
    directory: string | null;
    order_url: string | null;
    challenge: JsonOrNull<KeptProof>;
    ciphertext: string | null;
    attempts: Generated<number>;
    failures: Generated<number>;
    ordered_at: MaybeAt;
    next_at: MaybeAt;
    cause: JsonOrNull<Cause>;
    failed_at: MaybeAt;
    certificate: string | null;
    issued_at: MaybeAt;
    renew_at: MaybeAt;
    created_at: At;
  };
}
