// Whether two routers on two cores serve more than two on one: they share the listening socket and nothing else.
// Where the clients need the second core too, requests per second cannot show it; CPU time per request, which must not rise, and the share of each router do.
import { load, middle, type LoadOptions, type Round } from "./load.ts";
import { cores, cpuMicros } from "./processes.ts";
import { backEnd, berth } from "./proxies.ts";

export interface Scale extends LoadOptions {
  readonly rounds: number;
  readonly note: (text: string) => void;
}
export interface Scaled {
  readonly name: string;
  readonly rounds: readonly Round[];
  /** Of the CPU time, the part of the router that did more. */ readonly share: number;
}

export async function scale(options: Scale): Promise<Scaled[]> {
  await using stack = new AsyncDisposableStack();
  const back = stack.use(await backEnd());
  const both = [...new Set([cores.subject, cores.rest])].join(",");
  const proxies = [
    stack.use(await berth(back.port, { name: "2 routers on 1 core" })),
    stack.use(await berth(back.port, { name: "2 routers on 2 cores", core: both })),
  ];
  const found = proxies.map(({ name }) => ({ name, rounds: [] as Round[], took: [0, 0] }));
  for (const proxy of proxies) await load(proxy, { ...options, seconds: 8 });
  for (let round = 1; round <= options.rounds; round += 1)
    for (const [index, proxy] of proxies.entries()) {
      const one = found[index];
      const before = proxy.workers.map((pid) => cpuMicros([pid]));
      one?.rounds.push(await load(proxy, options));
      for (const [at, pid] of proxy.workers.entries())
        if (one !== undefined) one.took[at] = (one.took[at] ?? 0) + cpuMicros([pid]) - (before[at] ?? 0);
    }
  return found.map(({ name, rounds, took }) => ({ name, rounds, share: Math.max(...took) / took.reduce((sum, one) => sum + one, 0) }));
}

export function scaleTable(found: readonly Scaled[]): string[][] {
  return [
    ["", "requests/s", "CPU µs/request", "p99 ms", "share of the busier router"],
    ...found.map(({ name, rounds, share }) => {
      const { requestsPerSecond, cpuPerRequest, p99 } = middle(rounds);
      return [name, String(Math.round(requestsPerSecond)), cpuPerRequest.toFixed(1), p99.toFixed(2), `${(share * 100).toFixed(0)} %`];
    }),
  ];
}
