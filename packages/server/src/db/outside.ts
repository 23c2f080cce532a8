// A PostgreSQL that somebody else runs (DATABASE_URL): waited for while it is away, refused with words when waiting would not help.
// Must never say its password.
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Log } from "./log.ts";
import { DatabaseRefused } from "./refused.ts";
import { isUnavailable } from "./transaction.ts";

export interface OutsideOptions {
  readonly url: string;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** ms to wait for a database that does not answer. */
  readonly patience: number;
  /** Told in a sentence what is waited for, once for each new reason. */
  readonly onWait: (sentence: string) => void;
}

/** What a server says of itself; see `refusalOf`. */
export interface ServerFacts {
  readonly version: string;
  readonly number: number;
  readonly standby: boolean;
  readonly readOnly: boolean;
  readonly encoding: string;
}

const oldest = 150_000;

/** `shop at db.example.com:5432`, or the socket's folder. */
export function nameOf(url: string): string {
  const { database, host, port } = clientFor(url);
  return `${database ?? ""} at ${host.startsWith("/") ? host : `${host.includes(":") ? `[${host}]` : host}:${port}`}`;
}

/** Waits until the database answers and may be used. Throws DatabaseRefused. */
export async function awaitOutside(options: OutsideOptions): Promise<void> {
  const { url, signal } = options;
  const until = Date.now() + options.patience;
  let said = "";
  for (let pause = 100; ; pause = Math.min(pause * 2, 2_000)) {
    signal.throwIfAborted();
    const away = await look(url);
    if (away === undefined) return;
    if (Date.now() + pause > until)
      throw new DatabaseRefused(
        "not_answering",
        `The database ${nameOf(url)} does not answer: ${away}.`,
        "Start it, or correct DATABASE_URL.",
      );
    if (away !== said) {
      said = away;
      const sentence = `Waiting for the database ${nameOf(url)}: ${away}.`;
      options.log.warn({ reason: away }, "waiting for the database");
      options.onWait(sentence);
    }
    await delay(pause, undefined, { signal });
  }
}

/** Why it does not answer; undefined = it does, and may be used. */
async function look(url: string): Promise<string | undefined> {
  const client = clientFor(url);
  client.on("error", () => {
    /* The question's own answer says it. */
  });
  try {
    await client.connect();
    const { rows } = await client.query<ServerFacts>(
      "select current_setting('server_version') as version, current_setting('server_version_num')::int as number, pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as \"readOnly\", current_setting('server_encoding') as encoding",
    );
    const refusal = rows[0] === undefined ? undefined : refusalOf(rows[0], nameOf(url));
    if (refusal !== undefined) throw refusal;
    return undefined;
  } catch (error) {
    if (error instanceof DatabaseRefused) throw error;
    return reasonToWait(error) ?? refuse(error, client, url);
  } finally {
    await client.end().catch(() => undefined);
  }
}

function clientFor(url: string): pg.Client {
  try {
    return new pg.Client({ connectionString: url, application_name: "berth-start", connectionTimeoutMillis: 5_000, query_timeout: 5_000 });
  } catch {
    // Its message would repeat the address with its password.
    throw new DatabaseRefused(
      "bad_address",
      "DATABASE_URL cannot be read as an address.",
      "Write it as postgres://USER:PASSWORD@HOST:5432/DATABASE; characters such as / and @ in the password as %2F and %40.",
    );
  }
}

/** Whether this server can hold Berth's state. Pure. */
export function refusalOf(server: ServerFacts, name: string): DatabaseRefused | undefined {
  if (server.number < oldest)
    return new DatabaseRefused(
      "database_too_old",
      `The database ${name} is PostgreSQL ${server.version}; Berth needs 15 or newer.`,
      "Point DATABASE_URL at a newer one, or leave it out for the embedded one.",
    );
  if (server.standby)
    return new DatabaseRefused(
      "database_read_only",
      `The database ${name} is a standby: it can be read but not written.`,
      "Point DATABASE_URL at the primary.",
    );
  if (server.readOnly)
    return new DatabaseRefused(
      "database_read_only",
      `The database ${name} takes no writes: default_transaction_read_only is on.`,
      "Turn that off for Berth's role or database, or point DATABASE_URL at another one.",
    );
  if (server.encoding !== "UTF8")
    return new DatabaseRefused(
      "database_encoding",
      `The database ${name} stores text as ${server.encoding}; Berth needs UTF8.`,
      "Create another one: CREATE DATABASE berth ENCODING 'UTF8' TEMPLATE template0.",
    );
  return undefined;
}

/** In words, when the database may answer later. */
function reasonToWait(error: unknown): string | undefined {
  const { code, message } = error as { code?: string; message?: string };
  switch (code) {
    case "ECONNREFUSED":
      return "nothing listens there";
    case "ENOENT":
      return "its socket is not there";
    case "EAI_AGAIN":
    case "ENOTFOUND":
      return "its host name does not resolve";
    case "57P03":
      return message ?? "it is starting";
    case "53300":
      return "it has no free connection";
    default:
      return isUnavailable(error) || /timeout/i.test(message ?? "") ? (message ?? "it does not answer") : undefined;
  }
}

function refuse(error: unknown, client: pg.Client, url: string): never {
  const { code, message = "" } = error as { code?: string; message?: string };
  const user = client.user ?? "";
  const name = nameOf(url);
  if (code === "28P01")
    throw new DatabaseRefused(
      "login_refused",
      `The database ${name} refuses the password of user ${user}.`,
      "Correct it in DATABASE_URL; characters such as / and @ in it are written as %2F and %40.",
    );
  if (code === "28000")
    throw new DatabaseRefused(
      "login_refused",
      `The database ${name} does not let user ${user} in: ${message}.`,
      "Its pg_hba.conf and its roles decide who may; `?sslmode=require` at the end of DATABASE_URL asks for encryption.",
    );
  if (code === "3D000")
    throw new DatabaseRefused(
      "no_such_database",
      `The server of ${name} answers, but has no database ${client.database ?? ""}.`,
      `Create it: CREATE DATABASE ${client.database ?? "berth"} OWNER ${user} ENCODING 'UTF8' TEMPLATE template0.`,
    );
  if (code === "42501")
    throw new DatabaseRefused(
      "no_rights",
      `User ${user} may not connect to ${name}.`,
      `Its owner can: GRANT CONNECT, CREATE ON DATABASE ${client.database ?? "berth"} TO ${user}.`,
    );
  if (/SSL|certificate|self-signed/i.test(`${code ?? ""} ${message}`))
    throw new DatabaseRefused(
      "tls_refused",
      `No encrypted connection to ${name}: ${message}.`,
      "sslmode and sslrootcert in DATABASE_URL say what is wanted; NODE_EXTRA_CA_CERTS names your own authority.",
    );
  if (code === "EACCES")
    throw new DatabaseRefused(
      "login_refused",
      `The socket of ${name} may not be opened by this user.`,
      "Let Berth's user into its folder, or connect over TCP.",
    );
  throw new DatabaseRefused(
    "not_answering",
    `The database ${name} cannot be used: ${message}.`,
    "Correct DATABASE_URL, or leave it out for the embedded one.",
  );
}
