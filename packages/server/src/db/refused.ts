// Why Berth will not start on this database: a reason, a sentence and what to do. Must never carry a password.

export type RefusalReason =
  | "no_binaries"
  | "no_user"
  | "not_passable"
  | "socket_path_too_long"
  | "data_newer"
  | "data_older"
  | "data_truncated"
  | "data_missing"
  | "wrong_owner"
  | "disk_full"
  | "start_failed"
  | "not_answering"
  | "bad_address"
  | "login_refused"
  | "no_such_database"
  | "no_rights"
  | "tls_refused"
  | "database_read_only"
  | "database_encoding"
  | "other_installation"
  | "cluster_taken"
  | "engine_changed"
  | "database_too_old"
  | "schema_needs_newer"
  | "migration_changed"
  | "migration_failed"
  | "in_use"
  | "epoch_older"
  | "keys_missing"
  | "keys_damaged"
  | "keys_other";

/** Thrown while the database is being prepared, before there is anybody to answer; `message` and `hint` are meant for the terminal. */
export class DatabaseRefused extends Error {
  readonly reason: RefusalReason;
  readonly hint: string;
  constructor(reason: RefusalReason, sentence: string, hint: string, options: { cause?: unknown } = {}) {
    super(sentence, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "DatabaseRefused";
    this.reason = reason;
    this.hint = hint;
  }
}
