// A Docker host elsewhere, of a test's own: a daemon that is reached over TLS, Berth's edge as a container on it, and everything that is asked of it through the tunnel.
import { randomBytes } from "node:crypto";
import { createReadStream, mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildImage } from "../../../../../../tools/image/build.ts";
import { importImage } from "../../../builders/bases/import.ts";
import { leanTar } from "../../../builders/testing/lean.ts";
import type { HostFacts, HostTls } from "../../../core/hosts.ts";
import { silentLog } from "../../../db/log.ts";
import { DockerApi } from "../../../docker/api.ts";
import { formatEndpoint } from "../../../docker/endpoint.ts";
import { startDockerd, type TestDaemon } from "../../../docker/testing/daemon.ts";
import { DockerEngine } from "../../../engines/docker/engine.ts";
import { hostSockets, pathsOf } from "../../../paths.ts";
import type { OpenHost } from "../../../resources/clusters/store.ts";
import { openHostTraffic } from "../../machine.ts";
import { Host } from "../host.ts";
import { openSockets } from "../sockets.ts";

const cluster = "away";
const image = "berth-test/berth:lab";

export class HostLab implements AsyncDisposable {
  readonly daemon: TestDaemon;
  /** Of the daemon itself, beside the tunnel. */
  readonly api: DockerApi;
  readonly engine: DockerEngine;
  readonly #host: Host;
  readonly #home: string;

  private constructor(daemon: TestDaemon, api: DockerApi, engine: DockerEngine, host: Host, home: string) {
    this.daemon = daemon;
    this.api = api;
    this.engine = engine;
    this.#host = host;
    this.#home = home;
  }

  /** Returns when the host is connected. `installation`: whose edge it is; `errorDetails`: a setting of the edge. Errors: why it is not connected in time. */
  static async open(installation: string, errorDetails = "local"): Promise<HostLab> {
    const daemon = await startDockerd({ tls: true });
    const api = new DockerApi(daemon.endpoint);
    const home = await mkdtemp(join(tmpdir(), "berth-host-"));
    let host: Host | undefined;
    try {
      await importImage(api, createReadStream(await leanTar(["nodejs", "iproute2"])), { reference: "berth-test/with-ip:lab" });
      await buildImage(api, { tag: image, base: "berth-test/with-ip:lab", onLine: () => undefined });
      const { facts, tls } = factsOf(daemon);
      const paths = pathsOf(home, join(home, "run"));
      mkdirSync(paths.run);
      const sockets = hostSockets(paths, cluster);
      const connected = Promise.withResolvers<undefined>();
      host = new Host({
        host: { kind: "docker", cluster, domain: "localhost", facts, tls },
        settings: {
          installation,
          version: "0.0.0",
          cluster,
          image,
          facts,
          common: { trustedProxies: [], limits: {}, errorDetails, hstsSeconds: 0 },
        },
        sockets: await openSockets(cluster, sockets),
        pairPath: sockets.pair,
        traffic: openHostTraffic(paths, { cluster, facts }),
        install: { own: undefined, auth: () => Promise.resolve({}), probeKey: randomBytes(32) },
        takeOver: () => Promise.resolve(),
        onChange: () => {
          if (host?.state.connected === true) connected.resolve(undefined);
        },
        log: silentLog,
      });
      await Promise.race([connected.promise, refused(host)]);
      const { agent, logs, dial } = sockets;
      const login = (): Promise<undefined> => Promise.resolve(undefined);
      const engine = new DockerEngine({ agentSocket: agent, logsSocket: logs, dialSocket: dial, cluster, login });
      return new HostLab(daemon, api, engine, host, home);
    } catch (error) {
      await host?.close();
      api.close();
      await daemon[Symbol.asyncDispose]();
      await rm(home, { recursive: true, force: true });
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.close();
    await this.#host.close();
    this.api.close();
    await this.daemon[Symbol.asyncDispose]();
    await rm(this.#home, { recursive: true, force: true });
  }
}

function factsOf(daemon: TestDaemon): Pick<OpenHost, "facts"> & { readonly tls: HostTls } {
  const endpoint = daemon.tlsEndpoint;
  if (endpoint?.type !== "tcp") throw new Error("the daemon has no TLS");
  const folder = dirname(daemon.url.slice("unix://".length));
  const [httpPort = 0, httpsPort = 0] = daemon.ports;
  const facts: HostFacts = {
    endpoint: formatEndpoint(endpoint),
    home: join(folder, "home"),
    socket: join(folder, "s"),
    httpPort,
    httpsPort,
    networks: { base: daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17"), size: 25 },
  };
  const { ca = "", cert = "", key = "" } = endpoint.tls ?? {};
  return { facts, tls: { ca, cert, key } };
}

/** Rejects when it is not connected in time, with its reason. */
function refused(host: Host): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error(`the host is not connected: ${host.state.reason ?? "?"}`)), 180_000).unref();
  });
}
