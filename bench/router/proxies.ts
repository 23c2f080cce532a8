// The proxies that are compared, each ready to be asked: Berth's edge as it is built, nginx, Traefik, and the plainest proxy that Node can be. All before the same back end.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EdgeTraffic } from "../../packages/server/src/engines/edge-traffic.ts";
import { installedTraefik } from "../peers/traefik.ts";
import { cores, family, start, until, type Started } from "./processes.ts";

export interface Proxy extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  readonly host: string;
  /** What a client sends that has been here before. */
  readonly cookie: string;
  readonly pids: () => number[];
  /** Where it speaks TLS; undefined: nowhere. */
  readonly securePort?: number;
}

/** PEM. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

const host = "web.shop.localhost";
const root = join(import.meta.dirname, "..", "..");
const never = new AbortController().signal;

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export function has(command: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;
}

/** A folder of its own for a program, gone with it. */
function withFolder(make: (folder: string) => Started): Started {
  const folder = mkdtempSync(join(tmpdir(), "berth-bench-"));
  const started = make(folder);
  return {
    ...started,
    [Symbol.asyncDispose]: async () => {
      await started[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function answers(proxy: Proxy): Promise<void> {
  await until(`${proxy.name} answers`, async () => {
    const { status } = spawnSync("curl", ["-sf", "-o", "/dev/null", "-H", `Host: ${proxy.host}`, proxy.url]);
    return Promise.resolve(status === 0);
  });
}

function proxyOf(name: string, port: number, started: Started, pids: () => number[], cookie = "berth-track=stable"): Proxy {
  return {
    name,
    port,
    host,
    cookie,
    url: `http://127.0.0.1:${String(port)}/x`,
    pids,
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

const nginxFolders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

function nginx(core: number, http: (folder: string) => string): Started {
  return withFolder((folder) => {
    const file = join(folder, "nginx.conf");
    writeFileSync(
      file,
      `daemon off; worker_processes 1; worker_rlimit_nofile 16384; pid ${folder}/pid; error_log ${folder}/error.log crit; events { worker_connections 8192; }
      http { keepalive_requests 1000000000; keepalive_timeout 1h; default_type text/plain; ${nginxFolders.map((name) => `${name}_temp_path ${folder}/${name};`).join(" ")} ${http(folder)} }`,
    );
    return start(core, "nginx", ["-c", file]);
  });
}

/** The back end of all: 1 KiB from memory by nginx, which takes less than any of the proxies. */
export async function backEnd(): Promise<Proxy> {
  const port = await freePort();
  const started = nginx(
    cores.rest,
    () => `access_log off; server { listen 127.0.0.1:${String(port)} backlog=4096; location / { return 200 "${"x".repeat(1024)}"; } }`,
  );
  const proxy = proxyOf("back end", port, started, () => family(started.pid));
  await answers(proxy);
  return proxy;
}

export interface BerthOptions {
  readonly name?: string;
  readonly core?: number | string;
  readonly sticky?: boolean;
  readonly leaveOut?: readonly ("accessLog" | "metrics" | "requestIds")[];
  /** The folder of another build, to compare two. */
  readonly dist?: string;
  /** It speaks TLS with it, too. */
  readonly certificate?: Certificate;
}

/** The built edge with its two routers, one component and one instance. */
export async function berth(
  target: number,
  { name = "Berth", core = cores.subject, sticky = true, leaveOut = [], dist = join(root, "dist"), certificate }: BerthOptions = {},
): Promise<Proxy & { readonly workers: readonly number[] }> {
  const [port, internal, securePort] = [await freePort(), await freePort(), await freePort()];
  let home = "";
  const started = withFolder((folder) => {
    home = folder;
    mkdirSync(join(home, "edge"), { recursive: true });
    // What the agent said last: there is none here.
    writeFileSync(join(home, "edge", "readiness.json"), JSON.stringify(["bench"]));
    const file = join(home, "edge.json");
    writeFileSync(
      file,
      JSON.stringify({
        home,
        runDir: join(home, "run"),
        installation: "bench",
        router: { host: "127.0.0.1", port, portIsDefault: false },
        https: { port: securePort, portIsDefault: false },
        workers: 2,
        leaveOut,
        children: { agent: false, collector: false },
        accessLog: { maxFileBytes: 1024 ** 3, maxFiles: 1 },
      }),
    );
    return start(core, process.execPath, [join(dist, "edge.js"), file]);
  });
  const traffic = new EdgeTraffic({
    socketPath: join(home, "run", "edge.sock"),
    home,
    cluster: "local",
    router: { host: "127.0.0.1", port },
    now: Date.now,
  });
  try {
    await until("the edge answers", () =>
      traffic.hello(never).then(
        () => true,
        () => false,
      ),
    );
    await traffic.apply(
      {
        ref: { stack: "shop", component: "web" },
        rules: [],
        holdFor: 2_000,
        drainTimeout: 5_000,
        stopped: false,
        ...(sticky ? { sticky: { cookie: "berth-track", maxAge: 3_600_000 } } : {}),
        ports: [
          {
            name: "http",
            protocol: "http",
            hosts: [{ host, path: "/" }],
            internal,
            tracks: [
              {
                name: "stable",
                weight: 100,
                endpoints: [
                  { instance: "bench", releaseHash: `sha256:${"0".repeat(64)}`, host: "127.0.0.1", port: target, state: "active" },
                ],
              },
            ],
          },
        ],
      },
      { installation: "bench", epoch: 1, generation: 1 },
      never,
    );
    if (certificate !== undefined)
      await traffic.setCertificates(
        [{ name: "bench", chain: certificate.certificate, key: certificate.key, isDefault: true }],
        { installation: "bench", epoch: 1, generation: 1 },
        never,
      );
    const { workers } = await traffic.hello(never);
    const proxy = proxyOf(name, port, started, () => [...workers]);
    await answers(proxy);
    return {
      ...proxy,
      ...(certificate === undefined ? {} : { securePort }),
      workers,
      [Symbol.asyncDispose]: async () => {
        await traffic.close();
        await started[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await started[Symbol.asyncDispose]();
    throw error;
  }
}

export async function nginxProxy(target: number, certificate?: Certificate): Promise<Proxy> {
  const [port, securePort] = [await freePort(), await freePort()];
  const started = nginx(cores.subject, (folder) => {
    if (certificate !== undefined) {
      writeFileSync(join(folder, "certificate.pem"), certificate.certificate);
      writeFileSync(join(folder, "key.pem"), certificate.key, { mode: 0o600 });
    }
    const secure =
      certificate === undefined
        ? ""
        : `listen 127.0.0.1:${String(securePort)} ssl http2 backlog=4096; ssl_certificate ${folder}/certificate.pem; ssl_certificate_key ${folder}/key.pem;`;
    return `
    log_format line escape=json '{"time":"$time_iso8601","requestId":"$request_id","remote":"$remote_addr","host":"$host","method":"$request_method","path":"$uri","status":$status,"bytesIn":$request_length,"bytesOut":$body_bytes_sent,"duration":$request_time,"upstream":"$upstream_addr"}';
    access_log ${folder}/access.log line buffer=64k flush=1s; upstream back { server 127.0.0.1:${String(target)}; keepalive 256; keepalive_requests 1000000000; }
    server { listen 127.0.0.1:${String(port)} backlog=4096; ${secure} server_name ${host}; location / { proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Request-Id $request_id; add_header X-Request-Id $request_id; } }`;
  });
  const proxy = proxyOf("nginx, access log and request ids", port, started, () => family(started.pid));
  await answers(proxy);
  return certificate === undefined ? proxy : { ...proxy, securePort };
}

/** undefined: it is not there. `full`: access log (JSON, buffered), metrics and sticky cookie; otherwise as it comes. */
export async function traefik(target: number, full: boolean): Promise<Proxy | undefined> {
  const program = installedTraefik();
  if (program === undefined) return undefined;
  const [port, metrics] = [await freePort(), await freePort()];
  const started = withFolder((folder) => {
    // JSON is YAML, and Traefik wants the name.
    const [file, rules] = [join(folder, "traefik.yml"), join(folder, "rules.yml")];
    const loadBalancer = {
      servers: [{ url: `http://127.0.0.1:${String(target)}` }],
      ...(full ? { sticky: { cookie: { name: "berth-track" } } } : {}),
    };
    const entryPoints = {
      web: { address: `127.0.0.1:${String(port)}` },
      ...(full ? { metrics: { address: `127.0.0.1:${String(metrics)}` } } : {}),
    };
    const extras = full
      ? {
          accessLog: { filePath: join(folder, "access.log"), format: "json", bufferingSize: 256 },
          metrics: { prometheus: { entryPoint: "metrics" } },
        }
      : {};
    writeFileSync(
      file,
      JSON.stringify({
        global: { checkNewVersion: false, sendAnonymousUsage: false },
        log: { level: "ERROR" },
        entryPoints,
        providers: { file: { filename: rules, watch: false } },
        ...extras,
      }),
    );
    writeFileSync(
      rules,
      JSON.stringify({
        http: {
          routers: { web: { rule: `Host(\`${host}\`)`, service: "web", entryPoints: ["web"] } },
          services: { web: { loadBalancer } },
        },
      }),
    );
    return start(cores.subject, program, [`--configfile=${file}`], { GOMAXPROCS: "1" });
  });
  const proxy = proxyOf(full ? "Traefik, access log, metrics, sticky" : "Traefik as it comes", port, started, () => family(started.pid));
  await answers(proxy);
  const cookie = /^set-cookie: (berth-track=[^;\r]+)/im.exec(
    spawnSync("curl", ["-si", "-H", `Host: ${host}`, proxy.url]).stdout.toString(),
  )?.[1];
  return cookie === undefined ? proxy : { ...proxy, cookie };
}

/** node:http with an undici pool: no log, no metrics, no routing, hardly any header. */
export async function plainNode(target: number): Promise<Proxy> {
  const port = await freePort();
  const started = start(cores.subject, process.execPath, [join(import.meta.dirname, "plain.ts"), String(port), String(target)]);
  const proxy = proxyOf("plain node:http and undici", port, started, () => family(started.pid));
  await answers(proxy);
  return proxy;
}
