// A certificate authority, and certificates of a daemon on 127.0.0.1 and of its client, made by openssl.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DockerEndpoint } from "../endpoint.ts";

export interface TestTls {
  /** For dockerd. */
  readonly flags: readonly string[];
  readonly endpoint: DockerEndpoint;
}

/** `port`: of 127.0.0.1, where the daemon is to listen. */
export function makeTls(folder: string, port: number): TestTls {
  mkdirSync(folder, { recursive: true });
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => {
    execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  };
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...newKey, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Berth test authority");
  for (const [name, usage] of [
    ["server", "serverAuth"],
    ["client", "clientAuth"],
  ]) {
    writeFileSync(at(`${String(name)}.ext`), `extendedKeyUsage=${String(usage)}\nsubjectAltName=IP:127.0.0.1\n`);
    openssl("req", ...newKey, "-keyout", `${String(name)}.key`, "-out", `${String(name)}.csr`, "-subj", `/CN=${String(name)}`);
    openssl(
      "x509",
      "-req",
      "-in",
      `${String(name)}.csr`,
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-out",
      `${String(name)}.pem`,
      "-days",
      "2",
      "-extfile",
      `${String(name)}.ext`,
    );
  }
  const read = (name: string): string => readFileSync(at(name), "utf8");
  return {
    flags: [
      "--host",
      `tcp://127.0.0.1:${String(port)}`,
      "--tlsverify",
      "--tlscacert",
      at("ca.pem"),
      "--tlscert",
      at("server.pem"),
      "--tlskey",
      at("server.key"),
    ],
    endpoint: { type: "tcp", host: "127.0.0.1", port, tls: { ca: read("ca.pem"), cert: read("client.pem"), key: read("client.key") } },
  };
}
