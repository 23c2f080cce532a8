// A real certificate authority for tests: Pebble, compiled once and kept outside of the checkout, with a name server that leads every host to this machine.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testCertificate, type TestCertificate } from "../../edge/testing/certificates.ts";
import { freePort, until } from "../../edge/testing/harness.ts";
import { compileModule, goModuleMissing, type GoModule } from "../../os/testing/go.ts";
import { startNames } from "./names.ts";

const source: GoModule = {
  name: "pebble",
  version: "2.10.1",
  path: "github.com/letsencrypt/pebble/v2",
  programs: { pebble: "github.com/letsencrypt/pebble/v2/cmd/pebble" },
};

/** Why there can be no Pebble here; undefined when there can. */
export function pebbleMissing(): string | undefined {
  return goModuleMissing(source);
}

/** The path of the program. Takes a minute or two the first time. */
export async function pebbleProgram(): Promise<string> {
  return join(await compileModule(source), "pebble");
}

export interface PebbleOptions {
  /** Where the authority asks hosts over plain HTTP: the router's port. */
  readonly httpPort: number;
  /** Seconds that a certificate is good for. */
  readonly life?: number;
  /** Percent of good nonces that it refuses. */
  readonly refusedNonces?: number;
  /** External accounts by id; with any, every account has to be bound to one. */
  readonly bindings?: Readonly<Record<string, string>>;
  readonly blocked?: readonly string[];
}

export class Pebble implements AsyncDisposable {
  readonly folder: string;
  readonly directory: string;
  readonly port: number;
  /** PEM file of what signed the certificate that it is spoken to with. */
  readonly trust: string;
  readonly authority: TestCertificate;
  readonly #management: number;
  readonly #names: Awaited<ReturnType<typeof startNames>>;
  #process: ChildProcess | undefined;
  #said = "";

  private constructor(
    folder: string,
    ports: { readonly api: number; readonly management: number },
    names: Awaited<ReturnType<typeof startNames>>,
  ) {
    this.folder = folder;
    this.port = ports.api;
    this.#management = ports.management;
    this.directory = `https://localhost:${String(ports.api)}/dir`;
    this.trust = join(folder, "trust.pem");
    this.authority = testCertificate({ subject: "Test authority of Pebble's own door", isAuthority: true });
    this.#names = names;
  }

  static async start(options: PebbleOptions): Promise<Pebble> {
    const program = await pebbleProgram();
    const folder = await mkdtemp(join(tmpdir(), "berth-pebble-"));
    const names = await startNames(join(folder, "records.json"));
    const pebble = new Pebble(folder, { api: await freePort(), management: await freePort() }, names);
    try {
      await pebble.#up(program, options);
      return pebble;
    } catch (error) {
      await pebble[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** TXT records that programs set: name -> values, as JSON. */
  get records(): string {
    return join(this.folder, "records.json");
  }

  /** Names that the name server does not know, from now on. */
  hide(...hosts: readonly string[]): void {
    this.#names.hide(hosts);
  }

  /** From now on this name leads to another address. */
  leadElsewhere(host: string, address: string): void {
    this.#names.lead(host, address);
  }

  /** Its root, as browsers would have to know it; a new one with every start. */
  async root(): Promise<string> {
    return new Promise((resolve, reject) => {
      request(
        { host: "127.0.0.1", port: this.#management, path: "/roots/0", ca: this.authority.certificate, servername: "localhost" },
        (answer) => {
          let text = "";
          answer.setEncoding("utf8").on("data", (part: string) => {
            text += part;
          });
          answer.on("end", () => {
            resolve(text);
          });
        },
      )
        .on("error", reject)
        .end();
    });
  }

  get said(): string {
    return this.#said;
  }

  async #up(program: string, options: PebbleOptions): Promise<void> {
    const door = testCertificate({ hosts: ["localhost"], issuer: this.authority });
    const file = (name: string): string => join(this.folder, name);
    await writeFile(this.trust, this.authority.certificate);
    await writeFile(file("door.pem"), door.certificate);
    await writeFile(file("door.key"), door.key);
    await writeFile(
      file("config.json"),
      JSON.stringify({
        pebble: {
          listenAddress: `127.0.0.1:${String(this.port)}`,
          managementListenAddress: `127.0.0.1:${String(this.#management)}`,
          certificate: file("door.pem"),
          privateKey: file("door.key"),
          httpPort: options.httpPort,
          tlsPort: 1,
          externalAccountBindingRequired: options.bindings !== undefined,
          ...(options.bindings === undefined ? {} : { externalAccountMACKeys: options.bindings }),
          domainBlocklist: options.blocked ?? [],
          retryAfter: { authz: 1, order: 1 },
          keyAlgorithm: "ecdsa",
          profiles: { default: { description: "of the test", validityPeriod: options.life ?? 7_776_000 } },
        },
      }),
    );
    const child = spawn(program, ["-config", file("config.json"), "-dnsserver", `127.0.0.1:${String(this.#names.port)}`], {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PEBBLE_VA_NOSLEEP: "1",
        PEBBLE_VA_ALWAYS_VALID: "0",
        PEBBLE_AUTHZREUSE: "0",
        PEBBLE_WFE_NONCEREJECT: String(options.refusedNonces ?? 0),
      },
    });
    this.#process = child;
    // A test that failed half-way must leave nothing behind.
    process.once("exit", () => child.kill("SIGKILL"));
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#said = (this.#said + text).slice(-200_000);
      });
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(`Pebble ended: ${this.#said}`);
        return this.root().then(
          (text) => text.includes("CERTIFICATE"),
          () => false,
        );
      },
      30_000,
      "the start of Pebble",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#process;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
    this.#names.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}
