// Requests per second, latency, CPU time and memory: Berth beside its peers, and Berth without one feature after the other.
// All proxies are up at once and take turns, so that what else the machine does falls on all alike.
import { load, median, middle, type LoadOptions, type Round } from "./load.ts";
import { backEnd, berth, nginxProxy, plainNode, traefik, type Proxy } from "./proxies.ts";
import { mebibytes } from "./text.ts";

export interface Options extends LoadOptions {
  readonly rounds: number;
  readonly note: (text: string) => void;
}

export interface Compared {
  readonly name: string;
  readonly rounds: readonly Round[];
}

async function takeTurns(proxies: readonly Proxy[], options: Options): Promise<Compared[]> {
  for (const proxy of proxies) await warmUp(proxy, options);
  const found = proxies.map(({ name }) => ({ name, rounds: [] as Round[] }));
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const [index, proxy] of proxies.entries()) found[index]?.rounds.push(await load(proxy, options));
    options.note(
      `round ${String(round)} of ${String(options.rounds)}: ${found.map(({ name, rounds }) => `${name} ${String(Math.round(rounds.at(-1)?.requestsPerSecond ?? 0))}/s`).join(", ")}`,
    );
  }
  return found;
}

/** A program that compiles while it runs is measured when it has. */
async function warmUp(proxy: Proxy, options: Options): Promise<void> {
  const began = performance.now();
  for (let requests = 0; requests < 80_000 && performance.now() - began < 60_000;)
    requests += 2 * (await load(proxy, { ...options, seconds: 2 })).requestsPerSecond;
}

/** All that `start` makes, then `use`, then the end of all of it. */
async function withProxies<T>(
  starts: readonly ((target: number) => Promise<Proxy | undefined>)[],
  use: (proxies: Proxy[]) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const back = stack.use(await backEnd());
  const proxies: Proxy[] = [];
  for (const start of starts) {
    const proxy = await start(back.port);
    if (proxy !== undefined) proxies.push(stack.use(proxy));
  }
  return await use(proxies);
}

export function peers(options: Options): Promise<Compared[]> {
  return withProxies(
    [
      (target) => berth(target, { name: "Berth, access log, metrics, sticky" }),
      (target) => traefik(target, true),
      (target) => traefik(target, false),
      nginxProxy,
      plainNode,
    ],
    (proxies) => takeTurns(proxies, options),
  );
}

export function features(options: Options): Promise<Compared[]> {
  return withProxies(
    [
      (target) => berth(target, { name: "everything on" }),
      (target) => berth(target, { name: "access log", leaveOut: ["accessLog"] }),
      (target) => berth(target, { name: "metrics", leaveOut: ["metrics"] }),
      (target) => berth(target, { name: "sticky cookies", sticky: false }),
      (target) => berth(target, { name: "request ids", leaveOut: ["requestIds"] }),
      (target) => berth(target, { name: "all four", sticky: false, leaveOut: ["accessLog", "metrics", "requestIds"] }),
    ],
    (proxies) => takeTurns(proxies, options),
  );
}

/** How many times the requests that `other` serves with the same CPU time, `one` serves: the median over rounds, each compared with its neighbour. */
export function timesAsMany(one: Compared, other: Compared): number {
  return median(one.rounds.map((round, index) => (other.rounds[index]?.cpuPerRequest ?? NaN) / round.cpuPerRequest));
}

export function peersTable(found: readonly Compared[]): string[][] {
  const traefik = found.find(({ name }) => name === "Traefik as it comes");
  const nginx = found.find(({ name }) => name.startsWith("nginx"));
  const times = (one: Compared, other: Compared | undefined): string =>
    other === undefined ? "-" : `${timesAsMany(one, other).toFixed(2)}`;
  return [
    ["one core each", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "x Traefik", "x nginx", "RSS MiB"],
    ...found.map((one) => {
      const { requestsPerSecond, p50, p99, cpuPerRequest, resident } = middle(one.rounds);
      return [
        one.name,
        String(Math.round(requestsPerSecond)),
        p50.toFixed(2),
        p99.toFixed(2),
        cpuPerRequest.toFixed(1),
        times(one, traefik),
        times(one, nginx),
        mebibytes(resident),
      ];
    }),
  ];
}

export function featuresTable([whole, ...others]: readonly Compared[]): string[][] {
  if (whole === undefined) throw new Error("nothing was measured");
  const all = middle(whole.rounds);
  return [
    ["Berth without", "requests/s", "CPU µs/request", "costs µs", "costs %"],
    ["- (everything on)", String(Math.round(all.requestsPerSecond)), all.cpuPerRequest.toFixed(1), "", ""],
    ...others.map(({ name, rounds }) => {
      const { requestsPerSecond, cpuPerRequest } = middle(rounds);
      const share = median(rounds.map((round, index) => 1 - round.cpuPerRequest / (whole.rounds[index]?.cpuPerRequest ?? NaN)));
      return [
        name,
        String(Math.round(requestsPerSecond)),
        cpuPerRequest.toFixed(1),
        (share * all.cpuPerRequest).toFixed(1),
        (share * 100).toFixed(1),
      ];
    }),
  ];
}
