// What the tests of automatic certificates share.
import { request } from "node:https";
import type { AutomaticCertificate } from "@berth/contract/resources/certificates.ts";
import { freePort } from "../packages/server/src/edge/testing/harness.ts";
import { Between } from "../packages/server/src/reconcile/testing/between.ts";
import { Pebble } from "../packages/server/src/reconcile/testing/pebble.ts";
import { TestBerth, until, type Files } from "./harness.ts";

/** What makes a server get its certificates from this authority. */
export const askingOf = (directory: string, { trust }: Pebble): Record<string, string> => ({
  BERTH_HTTPS_PORT: "0",
  BERTH_ACME_DIRECTORY: directory,
  BERTH_ACME_CONTACT: "ops@example.org",
  BERTH_ACME_TERMS_AGREED: "1",
  BERTH_ACME_CA_FILE: trust,
});

/** An authority, a server that gets its certificates from it by http-01, and between them what may hold up their talk. */
export class CertificateLab implements AsyncDisposable {
  readonly pebble: Pebble;
  readonly between: Between;
  readonly berth: TestBerth;

  private constructor(pebble: Pebble, between: Between, berth: TestBerth) {
    this.pebble = pebble;
    this.between = between;
    this.berth = berth;
  }

  static async open(options: Omit<Parameters<typeof Pebble.start>[0], "httpPort"> = {}): Promise<CertificateLab> {
    const httpPort = await freePort();
    const pebble = await Pebble.start({ ...options, httpPort });
    const between = await Between.start(pebble);
    const berth = await TestBerth.start({ ...askingOf(between.directory, pebble), BERTH_ROUTER_PORT: String(httpPort) });
    return new CertificateLab(pebble, between, berth);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.berth.stop();
    await this.between[Symbol.asyncDispose]();
    await this.pebble[Symbol.asyncDispose]();
  }
}

/** A web component at these hosts. */
export const project = (app: Files, ...hosts: readonly string[]): Files => ({
  ...app,
  "compose.yaml": `services:\n  web:\n    build: .\n    x-berth:\n      kind: web\n      domains: [${hosts.map((host) => `{ host: "${host}", https: redirect }`).join(", ")}]\n`,
});

export async function stateOf(berth: TestBerth, host: string): Promise<AutomaticCertificate | undefined> {
  const { items } = await berth.client.listAutomaticCertificates({ query: { search: host } });
  return items.find((item) => item.host === host);
}

/** Once the router serves the host over HTTPS; `after`: with another certificate than that. */
export function issued(berth: TestBerth, host: string, within = 60_000): Promise<AutomaticCertificate> {
  let state: AutomaticCertificate | undefined;
  return until(
    async () => {
      state = await stateOf(berth, host);
      if (state?.phase !== "issued") return undefined;
      const edge = await secureDoor(berth);
      return edge?.hosts.includes(host) === true ? state : undefined;
    },
    `a certificate for ${host}`,
    within,
    () => `${berth.log()}\n${JSON.stringify(state)}`,
  );
}

/** The edge's HTTPS address, as `berth doctor` and the probes have it. */
export async function secureDoor(berth: TestBerth): Promise<{ port: number; hosts: readonly string[] } | undefined> {
  const { EdgeTraffic } = await import("../packages/server/src/engines/edge-traffic.ts");
  const traffic = new EdgeTraffic({
    socketPath: `${berth.home}/run/edge.sock`,
    home: berth.home,
    cluster: "local",
    router: berth.router,
    now: Date.now,
  });
  try {
    return (await traffic.hello(new AbortController().signal)).https;
  } finally {
    await traffic.close();
  }
}

/** Through the router's HTTPS door, with the certificate checked as a browser would; `fingerprint` of the one that was shown. */
export async function secureGet(
  berth: TestBerth,
  host: string,
  ca: string,
): Promise<{ readonly status: number; readonly body: string; readonly fingerprint: string; readonly headers: Record<string, unknown> }> {
  const port = (await secureDoor(berth))?.port;
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, path: "/", servername: host, headers: { host }, ca, agent: false }, (answer) => {
      let body = "";
      const socket = answer.socket as import("node:tls").TLSSocket;
      const fingerprint = socket.getPeerCertificate().fingerprint256;
      answer.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      answer.on("end", () => {
        resolve({ status: answer.statusCode ?? 0, body, fingerprint, headers: answer.headers });
      });
    })
      .on("error", reject)
      .end();
  });
}
