// A PostgreSQL that is not Berth's, for end-to-end tests: real binaries of the distribution, over TCP and over a unix socket, with passwords.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { underPasswd } from "../packages/server/src/db/embedded/datafolder.ts";
import { freePort } from "../packages/server/src/edge/testing/harness.ts";
import { until } from "./harness.ts";

const run = promisify(execFile);
/** Where Debian puts its versions; the oldest that Berth takes is the one that may lack something. */
const folders = "/usr/lib/postgresql";
const version = existsSync(folders)
  ? readdirSync(folders)
      .map(Number)
      .filter((one) => one >= 15 && existsSync(join(folders, String(one), "bin", "initdb")))
      .toSorted((a, b) => a - b)[0]
  : undefined;
const bin = join(folders, String(version), "bin");
export const hasPostgres = version !== undefined;

/** With characters that an address has to escape. */
export const password = "p@ss/w?rd";
const superPassword = "super";

export class OutsidePostgres {
  readonly folder = mkdtempSync(join(tmpdir(), "pg-"));
  readonly data = join(this.folder, "data");
  port = 0;
  #child: ChildProcess | undefined;
  readonly #uid = process.getuid?.() === 0 ? 65_534 : undefined;

  static async make(): Promise<OutsidePostgres> {
    const made = new OutsidePostgres();
    try {
      mkdirSync(made.data, { mode: 0o700 });
      for (const folder of [made.folder, made.data]) made.#give(folder);
      chmodSync(made.folder, 0o711);
      writeFileSync(join(made.folder, "superpassword"), superPassword);
      made.#give(join(made.folder, "superpassword"));
      await made.#named(
        "initdb",
        "-D",
        made.data,
        "--no-sync",
        "--no-instructions",
        "--username=postgres",
        "--auth=scram-sha-256",
        `--pwfile=${join(made.folder, "superpassword")}`,
        "--encoding=UTF8",
        "--locale=C.UTF-8",
      );
      made.port = await freePort();
      made.#configure();
      await made.start();
      await made.query("create role berth login password $$p@ss/w?rd$$");
      await made.query("create database berth owner berth");
      return made;
    } catch (error) {
      await made.remove();
      throw error;
    }
  }

  /** Another server that follows this one and can only be read. */
  async standby(): Promise<OutsidePostgres> {
    const made = new OutsidePostgres();
    try {
      made.#give(made.folder);
      await made.#named(
        "pg_basebackup",
        "-D",
        made.data,
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
        "-d",
        this.url("postgres", { user: "postgres", password: superPassword }),
      );
      made.port = await freePort();
      made.#configure();
      await made.start();
      return made;
    } catch (error) {
      await made.remove();
      throw error;
    }
  }

  #configure(): void {
    writeFileSync(
      join(this.data, "postgresql.auto.conf"),
      `${existsSync(join(this.data, "postgresql.auto.conf")) ? readFileSync(join(this.data, "postgresql.auto.conf"), "utf8") : ""}
listen_addresses = '127.0.0.1'\nport = ${this.port}\nunix_socket_directories = '${this.folder}'\nfsync = off\n`,
    );
    this.#give(join(this.data, "postgresql.auto.conf"));
  }

  #give(path: string): void {
    if (this.#uid !== undefined) chownSync(path, this.#uid, this.#uid);
  }

  /** initdb wants a user with a name; in a container an ordinary user may have none. */
  async #named(program: string, ...args: string[]): Promise<void> {
    const options = {
      cwd: this.folder,
      env: { PATH: "/usr/bin:/bin", LC_ALL: "C" },
      ...(this.#uid === undefined ? {} : { uid: this.#uid, gid: this.#uid }),
    };
    const uid = process.getuid?.() ?? 0;
    const named =
      this.#uid !== undefined ||
      readFileSync("/etc/passwd", "utf8")
        .split("\n")
        .some((line) => line.split(":")[2] === String(uid));
    if (named) return void (await run(join(bin, program), args, options));
    const passwd = join(this.folder, "passwd");
    writeFileSync(passwd, `${readFileSync("/etc/passwd", "utf8").trimEnd()}\ntester:x:${uid}:${process.getgid?.() ?? 0}::/:/bin/false\n`);
    await run("unshare", underPasswd(passwd, join(bin, program), args), options);
  }

  async start(): Promise<void> {
    const log = openSync(join(this.folder, "log"), "a");
    const child = spawn(join(bin, "postgres"), ["-D", this.data], {
      cwd: this.folder,
      env: { PATH: "/usr/bin:/bin", LC_ALL: "C" },
      stdio: ["ignore", log, log],
      ...(this.#uid === undefined ? {} : { uid: this.#uid, gid: this.#uid }),
    });
    this.#child = child;
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(`PostgreSQL ended:\n${readFileSync(join(this.folder, "log"), "utf8")}`);
        return this.query("select 1").then(
          () => true,
          () => undefined,
        );
      },
      "PostgreSQL to answer",
      60_000,
    );
  }

  /** As when the machine's memory ran out: no good-bye to anybody. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
    // Its children notice, and hold the shared memory until they have.
    await until(async () => {
      const { stdout } = await run("ps", ["-eo", "args"]);
      return stdout.includes(`-D ${this.data}`) ||
        (await this.query("select 1").then(
          () => true,
          () => false,
        ))
        ? undefined
        : true;
    }, "PostgreSQL to be gone");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  async remove(): Promise<void> {
    await this.#end("SIGQUIT");
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Over TCP. */
  url(database = "berth", who: { readonly user: string; readonly password: string } = { user: "berth", password }): string {
    return `postgres://${who.user}:${encodeURIComponent(who.password)}@127.0.0.1:${this.port}/${database}`;
  }

  /** Over the unix socket. */
  socketUrl(): string {
    return `postgresql://berth:${encodeURIComponent(password)}@/berth?host=${encodeURIComponent(this.folder)}&port=${this.port}`;
  }

  /** As its superuser. */
  async query<T extends pg.QueryResultRow>(text: string, database = "postgres"): Promise<T[]> {
    const client = new pg.Client({
      connectionString: this.url(database, { user: "postgres", password: superPassword }),
      connectionTimeoutMillis: 30_000,
    });
    client.on("error", () => {
      /* The query tells. */
    });
    try {
      await client.connect();
      return (await client.query<T>(text)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}
