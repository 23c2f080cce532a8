// Load through the router from processes of its own, each with connections that keep a record of what went wrong. What explains it is verdict.ts's business.
import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { FromGenerator, Kind, LoadPlan, Report, ToGenerator } from "./generator.ts";

export interface LoadOptions extends Omit<LoadPlan, "kinds" | "within" | "pause"> {
  readonly processes?: number;
  readonly kinds?: Partial<Record<Kind, number>>;
  readonly pause?: number;
  readonly within?: number;
}
export interface Load {
  /** Sent so far, over all processes; a little behind. */
  readonly requests: number;
  readonly faults: number;
  stop(): Promise<Report>;
}

const mixed: Readonly<Record<Kind, number>> = { get: 70, post: 25, upload: 2, stream: 3 };

export function startLoad(options: LoadOptions): Load {
  const { processes = 1, kinds = {}, pause = 0, within = 60_000, ...plan } = options;
  const generators = Array.from({ length: processes }, (_, index) =>
    startGenerator({
      ...plan,
      kinds: { ...mixed, ...kinds },
      pause,
      within,
      seed: `${plan.seed}p${String(index)}`,
      connections: Math.ceil(plan.connections / processes),
    }),
  );
  const sum = (what: "requests" | "faults"): number => generators.reduce((total, generator) => total + generator.progress[what], 0);
  return {
    get requests() {
      return sum("requests");
    },
    get faults() {
      return sum("faults");
    },
    stop: async () => merge(await Promise.all(generators.map((generator) => generator.stop()))),
  };
}

interface Generator {
  readonly progress: { requests: number; faults: number };
  stop(): Promise<Report>;
}

function startGenerator(plan: LoadPlan): Generator {
  const child: ChildProcess = fork(join(import.meta.dirname, "generator.ts"), [], {
    execArgv: [],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const progress = { requests: 0, faults: 0 };
  const { promise, resolve, reject } = Promise.withResolvers<Report>();
  // Awaited by `stop`; a test that fails before must not end by this instead.
  promise.catch(() => undefined);
  const tell = (message: ToGenerator): void => {
    child.send(message, () => undefined);
  };
  child.on("message", (message: FromGenerator) => {
    if (message.type === "progress") Object.assign(progress, { requests: message.requests, faults: message.faults });
    else resolve(message.report);
  });
  child.once("error", reject).once("exit", (code, signal) => {
    reject(new Error(`a load generator ended (${signal ?? String(code)})`));
  });
  tell({ type: "start", plan });
  return {
    progress,
    stop: () => {
      tell({ type: "stop" });
      return promise;
    },
  };
}

function merge(reports: readonly Report[]): Report {
  const versions: Record<string, string[]> = {};
  for (const report of reports)
    for (const [target, seen] of Object.entries(report.versions))
      versions[target] = [...new Set([...(versions[target] ?? []), ...seen])].sort();
  const total = (kind: Kind): number => reports.reduce((sum, report) => sum + report.byKind[kind], 0);
  return {
    requests: reports.reduce((sum, report) => sum + report.requests, 0),
    connections: reports.reduce((sum, report) => sum + report.connections, 0),
    faults: reports.flatMap((report) => report.faults),
    slowest: Math.max(...reports.map((report) => report.slowest)),
    byKind: { get: total("get"), post: total("post"), upload: total("upload"), stream: total("stream") },
    versions,
  };
}
