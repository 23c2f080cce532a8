// The tables as the program sees them, one interface per migration. Must never describe a column that no migration makes.
import type { ColumnType, Generated, JSONColumnType } from "kysely";
import type { AcmeTables } from "./tables-acme.ts";
import type { CertificateTables, HookTables, RegistryTables, StackTables, WebhookTables } from "./tables-stacks.ts";

/** An instant; left out on insert where the table has a default. */
type At = ColumnType<Date, Date | string | undefined, Date | string>;
type MaybeAt = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
type Json<T extends object> = JSONColumnType<T>;

/** 0001_foundation.sql */
export interface Foundation {
  schema_info: { only_one: Generated<boolean>; minimum_program: string };
  schema_migrations: { number: number; name: string; checksum: string; program: string; applied_at: At };
  installation: { only_one: Generated<boolean>; id: Generated<string>; epoch: Generated<number>; created_at: At; raised_at: At };
  users: { id: Generated<string>; name: string; created_at: At; disabled_at: MaybeAt };
  teams: { id: Generated<string>; name: string; created_at: At };
  team_members: { team_id: string; user_id: string; added_at: At };
  roles: { name: string; permissions: string[]; builtin: Generated<boolean> };
  role_bindings: { id: Generated<string>; user_id: string; role: string; team_id: string | null; stack_id: string | null; created_at: At };
  api_tokens: {
    id: Generated<string>;
    prefix: string;
    hash: Buffer;
    user_id: string;
    name: string;
    scopes: string[];
    created_at: At;
    expires_at: MaybeAt;
    last_used_at: MaybeAt;
    revoked_at: MaybeAt;
  };
  login_tokens: { hash: Buffer; user_id: string; created_at: At; expires_at: At; used_at: MaybeAt };
  events: {
    id: Generated<number>;
    xid: Generated<string>;
    at: At;
    code: string;
    params: Json<Record<string, unknown>>;
    topics: string[];
    team_id: string | null;
    stack: string | null;
    component: string | null;
    cause: Json<object> | null;
  };
  audit: {
    id: Generated<string>;
    at: At;
    principal: string;
    action: string;
    object: string;
    params: Json<Record<string, unknown>>;
    request_id: string | null;
    seq: number | null;
    previous_hash: string | null;
    hash: string | null;
    signature: string | null;
    key_id: string | null;
    sealed_at: MaybeAt;
  };
  due: {
    kind: string;
    key: string;
    cluster: string;
    due_at: MaybeAt;
    lease_holder: string | null;
    lease_until: MaybeAt;
    fence: Generated<number>;
    attempts: Generated<number>;
    last_error: string | null;
    last_error_at: MaybeAt;
    enqueued_at: At;
  };
  tombstones: {
    id: Generated<number>;
    kind: string;
    cluster: string;
    ref: Json<object>;
    generation: number;
    made_at: At;
    done_at: MaybeAt;
    epoch: Generated<number>;
    team_id: string | null;
  };
  idempotency: {
    principal: string;
    key: string;
    request_hash: string;
    attempt: string;
    status: number | null;
    response: Json<object> | null;
    at: At;
    busy_until: Date;
  };
}

/** Everything; the interface of each later migration is added to the list. */
export interface Database extends Foundation, StackTables, HookTables, CertificateTables, AcmeTables, RegistryTables, WebhookTables {}
