// What it costs to keep instances that do nothing: the watching processes' CPU time, and the memory that each instance takes beside its own program.
import { until, type Files, type TestBerth } from "../../e2e/harness.ts";
import { family } from "../router/processes.ts";
import { costOf, memoryOf, shimsOf, type Cost, type Part } from "../shared/watch.ts";

export interface Supervision {
  readonly instances: number;
  readonly without: Readonly<Record<Part, Cost>>;
  readonly with: Readonly<Record<Part, Cost>>;
  /** Bytes beside the program (shim, sandbox), of all instances together, shared pages counted in parts. */
  readonly beside: number;
  /** Processes beside the program, per instance. */
  readonly processes: number;
}

/** Percent of a core that the agent and the collector take. */
export const cpuToSupervise = (cost: Readonly<Record<Part, Cost>>): number => cost.agent.cpu + cost.collector.cpu;

/** Bytes per instance: what stands beside it, and what the agent and the collector grew by. */
export function memoryToSupervise(found: Supervision): number {
  const grew = (part: Part): number => found.with[part].own - found.without[part].own;
  return (found.beside + grew("agent") + grew("collector")) / found.instances;
}

export interface SuperviseOptions {
  readonly program: Files;
  /** Each a stack with one component. */
  readonly stacks: number;
  readonly perStack: number;
  readonly seconds: number;
  readonly note: (text: string) => void;
}

export async function supervise(berth: TestBerth, options: SuperviseOptions): Promise<Supervision> {
  const { stacks, perStack, seconds, note } = options;
  const instances = stacks * perStack;
  const names = Array.from({ length: stacks }, (_, index) => `many-${String(index)}`);
  // One instance of each first: code that has run once is compiled and loaded before anything is compared.
  for (const name of names) await berth.deployed(name, options.program);
  const without = await costOf(berth, seconds / 2);
  for (const stack of names) {
    await berth.client.scaleComponent({ params: { stack, component: "web" }, body: { replicas: perStack } });
    await until(
      async () => ((await berth.client.showComponent({ params: { stack, component: "web" } })).ready === perStack ? true : undefined),
      `${String(perStack)} ready instances of ${stack}`,
      180_000,
      () => berth.log(),
    );
    note(`${stack}: ${String(perStack)} instances`);
  }
  const cost = await costOf(berth, seconds);
  const beside = watchers(berth, instances);
  return { instances, without, with: cost, beside: memoryOf(beside).own, processes: beside.length / instances };
}

/** Everything below the shims of this Berth but the programs themselves. */
function watchers(berth: TestBerth, instances: number): number[] {
  const shims = shimsOf(berth);
  if (shims.length !== instances) throw new Error(`${String(shims.length)} shims for ${String(instances)} instances`);
  // The program is the last in line: shim, and in a sandbox what makes it and its first process.
  return shims.flatMap((shim) => family(shim).slice(0, -1));
}
