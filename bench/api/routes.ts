// Every list and show route of the contract as requests that the seeded installation can answer. A route that is new in the contract is missing here at
// once: it has to be measured, or to be left out for a reason.
import { apiPrefix, routes, type RouteName } from "@berth/contract/api.ts";
import type { Route } from "@berth/contract/route.ts";
import type { Size } from "./seed.ts";

/** Answers that are no reading of what is stored. */
const leftOut: Partial<Record<RouteName, string>> = {
  runDoctor: "examines the machine",
  showManifests: "opens the secrets of each release to render it, and asks the cluster how it stands",
  showAdoption: "compares all that is stored with all that runs",
};

export interface Ask {
  readonly name: string;
  /** The path of the n-th request: each about another thing. */
  readonly path: (n: number) => string;
}

/** `live`: stacks with one running component `web`, for what only those have. */
export function asks(size: Size, live: readonly string[]): Ask[] {
  return (Object.entries(routes) as [RouteName, Route][]).flatMap(([name, route]) => {
    if (route.method !== "GET" || route.kind !== "json" || leftOut[name] !== undefined) return [];
    const plain = (n: number): string => apiPrefix + filled(name, route.path, size, live, n);
    if (route.list === undefined) return [{ name, path: plain }];
    const other = route.list.sort.find((field) => field !== route.list?.standard.replace("-", ""));
    return [
      { name, path: plain },
      { name: `${name}, searched`, path: (n: number) => `${plain(n)}?search=e` },
      { name: `${name}, 500 at once`, path: (n: number) => `${plain(n)}?limit=500` },
      ...(other === undefined ? [] : [{ name: `${name}, by ${other}`, path: (n: number) => `${plain(n)}?sort=-${other}` }]),
      ...(name in filters
        ? [{ name: `${name}, of one stack`, path: (n: number) => `${plain(n)}?${filters[name]?.(n % size.stacks) ?? ""}` }]
        : []),
    ];
  });
}

/** How a list over everything is cut down to one stack. */
const filters: Partial<Record<RouteName, (stack: number) => string>> = {
  listEvents: (stack) => `stack=stack-${String(stack)}`,
  listAudit: (stack) => `object=stack-${String(stack)}/c-1`,
};

function filled(name: RouteName, path: string, size: Size, live: readonly string[], n: number): string {
  // Only what was really built is attested.
  const attested = name === "readBuildSbom" || name === "readBuildProvenance";
  const running = attested || name === "listInstances" || name === "showUsage";
  const values: Readonly<Record<string, string>> = {
    stack: running ? (live[n % live.length] ?? "template") : `stack-${String(n % size.stacks)}`,
    component: running ? "web" : `c-${String(n % size.components)}`,
    release: String(1 + (n % size.releases)),
    rollout: String(1 + (n % size.releases)),
    build: attested ? "1" : String(1 + (n % (size.releases * 2))),
    task: String(1 + (n % (size.components * 2))),
    cluster: "local",
    certificate: "given",
  };
  return path.replace(/:([a-z]+)/gi, (_, key: string) => {
    const value = values[key];
    if (value === undefined) throw new Error(`${name}: nothing is known to ask for as ${key}`);
    return value;
  });
}
