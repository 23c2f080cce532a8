// The same requests in HTTP/2 and in HTTP/1.1, both in TLS and both by h2load, so that nothing differs but the protocol: Berth, and nginx beside it.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { testCertificate } from "../../packages/server/src/edge/testing/certificates.ts";
import { median } from "./load.ts";
import { cores, cpuMicros } from "./processes.ts";
import { backEnd, berth, nginxProxy, type Proxy } from "./proxies.ts";
import type { Options } from "./throughput.ts";

interface Way {
  readonly name: string;
  /** Of a connection, at once. */
  readonly streams: number;
  /** How many times fewer connections, so that as many requests are under way. */
  readonly fewer: number;
  readonly flags: readonly string[];
}
const ways: readonly Way[] = [
  { name: "HTTP/1.1", streams: 1, fewer: 1, flags: ["--h1"] },
  { name: "HTTP/2", streams: 1, fewer: 1, flags: [] },
  { name: "HTTP/2, 8 streams each", streams: 8, fewer: 8, flags: [] },
];

interface Round {
  readonly requestsPerSecond: number;
  /** CPU time of the proxy's processes per request, µs. */
  readonly cpuPerRequest: number;
}
export interface ComparedWay {
  readonly name: string;
  readonly rounds: Round[];
}

async function load(proxy: Proxy, way: Way, { connections, seconds }: Options): Promise<Round> {
  const pids = proxy.pids();
  const before = cpuMicros(pids);
  const { stdout } = await promisify(execFile)("taskset", [
    "-c",
    String(cores.rest),
    "h2load",
    ...way.flags,
    "-t1",
    `-c${String(Math.max(1, Math.round(connections / way.fewer)))}`,
    `-m${String(way.streams)}`,
    `-D${String(seconds)}`,
    "-H",
    `Cookie: session=abc; ${proxy.cookie}`,
    "--connect-to",
    `127.0.0.1:${String(proxy.securePort ?? 0)}`,
    `https://${proxy.host}:${String(proxy.securePort ?? 0)}/x`,
  ]);
  const micros = cpuMicros(pids) - before;
  const good = Number(/status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx/.exec(stdout)?.[1] ?? 0);
  if (good === 0) throw new Error(`${proxy.name} did not answer well in ${way.name}:\n${stdout}`);
  return { requestsPerSecond: good / seconds, cpuPerRequest: micros / good };
}

export async function http2(options: Options): Promise<ComparedWay[]> {
  await using stack = new AsyncDisposableStack();
  const back = stack.use(await backEnd());
  const certificate = testCertificate({ hosts: ["web.shop.localhost"] });
  const proxies = [stack.use(await berth(back.port, { certificate })), stack.use(await nginxProxy(back.port, certificate))];
  const tries = proxies.flatMap((proxy) => ways.map((way) => ({ proxy, way, name: `${proxy.name.split(",")[0] ?? ""}, ${way.name}` })));
  for (const { proxy, way } of tries) for (let round = 0; round < 3; round += 1) await load(proxy, way, options);
  const found = tries.map(({ name }): ComparedWay => ({ name, rounds: [] }));
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const [index, { proxy, way }] of tries.entries()) found[index]?.rounds.push(await load(proxy, way, options));
    options.note(
      `round ${String(round)} of ${String(options.rounds)}: ${found.map(({ name, rounds }) => `${name} ${String(Math.round(rounds.at(-1)?.requestsPerSecond ?? 0))}/s`).join("; ")}`,
    );
  }
  return found;
}

/** How many times the requests that `other` serves with the same CPU time, `one` serves: the median over rounds. */
export function perCpuSecond(found: readonly ComparedWay[], one: string, other: string): number {
  const [a, b] = [one, other].map((name) => found.find((way) => way.name === name)?.rounds ?? []);
  return median((a ?? []).map((round, index) => (b?.[index]?.cpuPerRequest ?? NaN) / round.cpuPerRequest));
}

export function http2Table(found: readonly ComparedWay[]): string[][] {
  return [
    ["in TLS, one core each", "requests/s", "CPU µs/request", "x HTTP/1.1", "x nginx"],
    ...found.map(({ name, rounds }) => {
      const [who = "", ...way] = name.split(", ");
      return [
        name,
        String(Math.round(median(rounds.map(({ requestsPerSecond }) => requestsPerSecond)))),
        median(rounds.map(({ cpuPerRequest }) => cpuPerRequest)).toFixed(1),
        perCpuSecond(found, name, `${who}, HTTP/1.1`).toFixed(2),
        perCpuSecond(found, name, `nginx, ${way.join(", ")}`).toFixed(2),
      ];
    }),
  ];
}
