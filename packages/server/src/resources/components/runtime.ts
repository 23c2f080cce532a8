// What runs of a component, asked of its engine directly: logs, usage, terminals, ports. Nothing here is stored.
import type { Duplex } from "node:stream";
import type { LogLine } from "@berth/contract/resources/components.ts";
import { Command } from "@berth/contract/spec.ts";
import { Value } from "typebox/value";
import { BerthError } from "../../core/errors.ts";
import { mergeByTime } from "./merge-lines.ts";
import { transaction } from "../../db/transaction.ts";
import { refOf, type Instance, type Ref, type Session } from "../../engines/engine.ts";
import { sent, type Sent } from "../../core/sent.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit } from "../intent.ts";
import type { StackService } from "../stacks/service.ts";
import type { LogQuery } from "../tasks/service.ts";
import type { ComponentService } from "./service.ts";
import { inCluster, isAway, linesIn, runIn, runningIn, type LookedAt, type Running, type RunsIn } from "./runtime-parts.ts";
import { allComponents } from "./store.ts";

export interface TerminalQuery {
  readonly instance?: string;
  readonly cluster?: string;
  readonly command: string;
  readonly tty?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}
export interface PortQuery {
  readonly instance?: string;
  readonly cluster?: string;
  /** Name or number. */
  readonly port?: string;
}
/** Of one cluster, if it is named. */
export type PlacedLogQuery = LogQuery & { readonly cluster?: string };
export type RuntimeService = ReturnType<typeof createRuntimeService>;

export function createRuntimeService(deps: ResourceDeps, stacks: StackService, components: ComponentService) {
  const opened: Opened = new Map();

  /** In order of time; nothing to resume from. `what`: as users call all of it. */
  function allLogs(call: Call, of: readonly RunsIn[], query: PlacedLogQuery, what: string): AsyncIterable<Sent<LogLine>> {
    const { follow = false, cluster, ...rest } = query;
    const isSpread = new Set(of.map((one) => one.cluster)).size > 1;
    const sources = inCluster(of, cluster, what).map((one) => {
      const options = { ...rest, follow };
      return named<LogLine>(
        one.ref.component,
        isSpread ? linesIn(deps, one, options, call.signal) : one.engine.logs(one.ref, options, call.signal),
      );
    });
    return sent(
      mergeByTime(sources, follow ? 50 : undefined, (item) => item.at),
      (line) => ({ data: line }),
    );
  }

  return {
    /** Errors: `not_found` for a cluster that it does not run in. */
    async logs(call: Call, stackName: string, name: string, query: PlacedLogQuery): Promise<AsyncIterable<Sent<LogLine>>> {
      const { stack, component } = await components.find(call, stackName, name);
      const { follow, cluster, ...rest } = query;
      const places = await runIn(deps, stack, [component]);
      if (places.length > 1) return allLogs(call, places, query, name);
      inCluster(places, cluster, name);
      const options = { ...rest, follow: follow ?? false, ...(call.lastEventId === undefined ? {} : { after: call.lastEventId }) };
      return sent(deps.places.engine(stack.cluster).logs(refOf(stack, name), options, call.signal), (line) => ({
        id: line.cursor,
        data: { ...line, component: name },
      }));
    },

    /** All components, in order of time as far as the past goes; a follower cannot resume by id, so that there is none. */
    async stackLogs(call: Call, stackName: string, query: PlacedLogQuery): Promise<AsyncIterable<Sent<LogLine>>> {
      const stack = await stacks.find(call, stackName);
      const rows = await allComponents(deps.db, stack.id);
      return allLogs(call, await runIn(deps, stack, rows), query, `stack ${stackName}`);
    },

    /** `away`: clusters other than the stack's own that did not answer. Errors: those of the engine of the stack's own. */
    async usage(call: Call, stackName: string) {
      const stack = await stacks.find(call, stackName);
      const rows = await allComponents(deps.db, stack.id);
      const places = await runIn(deps, stack, rows);
      const away: string[] = [];
      const usage = await Promise.all(
        [...Map.groupBy(places, ({ cluster }) => cluster)].map(async ([cluster, of]) => {
          try {
            if (cluster === stack.cluster || deps.addedClusters.state(cluster)?.connected !== false) {
              const refs = of.map(({ ref }) => ref);
              return (await deps.places.engine(cluster).usage(refs, call.signal)).map((item) => ({ ...item, cluster }));
            }
          } catch (error) {
            if (cluster === stack.cluster || call.signal.aborted || !isAway(error)) throw error;
          }
          away.push(cluster);
          return [];
        }),
      );
      const isSpread = (name: string): boolean => places.filter(({ ref }) => ref.component === name).length > 1;
      return {
        items: rows.map(({ name }) => ({
          component: name,
          instances: usage
            .flat()
            .filter((item) => item.ref.component === name)
            .map(({ instance, cluster, at, cpuSeconds, memory, processes }) => ({
              instance,
              ...(isSpread(name) ? { cluster } : {}),
              at,
              cpuSeconds,
              memory,
              processes,
            })),
        })),
        ...(away.length === 0 ? {} : { away: away.toSorted() }),
      };
    },

    /** Errors: `wrong_state` when nothing runs; `not_found` for an instance or a cluster that is not there; those of the engine, where it may be in a cluster that does not answer. */
    async terminal(call: Call, stackName: string, name: string, query: TerminalQuery): Promise<Session> {
      const { stack, component } = await components.find(call, stackName, name, "terminal.open");
      const command = parseCommand(query.command);
      const places = await runIn(deps, stack, [component]);
      const looked = await runningIn(inCluster(places, query.cluster, name), call.signal);
      const { instance: chosen, engine, ref, cluster } = choose(component.name, looked, query, "Opening a terminal");
      await transaction(deps.db, (trx) =>
        audit(trx, call, "terminal.open", `component:${stackName}/${name}`, {
          instance: chosen.id,
          ...(places.length > 1 ? { cluster } : {}),
          command: "exec" in command ? (command.exec[0] ?? "") : "sh",
        }),
      );
      return engine.exec(
        ref,
        chosen.id,
        command,
        query.tty === true ? { columns: query.columns ?? 80, rows: query.rows ?? 24 } : undefined,
        call.signal,
      );
    },

    /** A connection to a port of an instance. Errors: as of a terminal; `wrong_state` when nobody answers there; `not_found` for a port that is not there. */
    async port(call: Call, stackName: string, name: string, query: PortQuery): Promise<Duplex> {
      const { stack, component } = await components.find(call, stackName, name, "terminal.open");
      const places = await runIn(deps, stack, [component]);
      const looked = await runningIn(inCluster(places, query.cluster, name), call.signal);
      const { instance: chosen, engine, ref, cluster } = choose(component.name, looked, query, "Forwarding a port");
      const port = portOf(ref, chosen, query.port);
      const subject = `component:${stackName}/${name}`;
      await writtenOnce(opened, `${call.by} ${subject} ${cluster} ${chosen.id} ${String(port)}`, () =>
        transaction(deps.db, (trx) =>
          audit(trx, call, "port.open", subject, { instance: chosen.id, ...(places.length > 1 ? { cluster } : {}), port: String(port) }),
        ),
      );
      return engine.forward(ref, chosen.id, port, call.signal);
    },
  };
}

/** ms in which connections of one person to one port are one entry of the audit log: a browser makes dozens. */
const together = 600_000;

/** Who reached which port, when first (Unix ms), and its entry. */
type Opened = Map<string, { readonly at: number; readonly written: Promise<void> }>;

/** Nobody gets through before the entry is there, nor after one that could not be written. */
async function writtenOnce(opened: Opened, key: string, write: () => Promise<void>): Promise<void> {
  const now = Date.now();
  for (const [one, { at }] of opened) if (now - at >= together) opened.delete(one);
  const first = opened.get(key) ?? { at: now, written: write() };
  opened.set(key, first);
  try {
    await first.written;
  } catch (error) {
    if (opened.get(key) === first) opened.delete(key);
    throw error;
  }
}

/** The one that was named, or any, a ready one if there is one. What may be in a cluster that does not answer is not called absent. */
function choose(
  component: string,
  { running, away }: LookedAt,
  { instance: wanted, cluster }: Pick<TerminalQuery, "instance" | "cluster">,
  verb: string,
): Running {
  const chosen =
    wanted === undefined
      ? (running.find(({ instance }) => instance.ready) ?? running[0])
      : running.find(({ instance }) => instance.id === wanted);
  if (chosen !== undefined) return chosen;
  const [unreached] = away;
  if (unreached !== undefined) throw unreached;
  if (wanted !== undefined)
    throw new BerthError("not_found", {
      kind: "instance",
      name: wanted,
      hint: running.length === 0 ? "Nothing of it runs." : `These run: ${running.map(({ instance }) => instance.id).join(", ")}.`,
    });
  throw new BerthError("wrong_state", {
    verb,
    reason: `nothing of ${component} runs${cluster === undefined ? "" : ` in cluster ${cluster}`}`,
    hint: "`berth run` runs a command in a process of its own.",
  });
}

/** A name is one of the instance's own ports; a number is left to the engine, which knows which of them it may open. */
function portOf(ref: Ref, { addresses }: Instance, wanted: string | undefined): number {
  const names = Object.keys(addresses);
  const named = addresses[wanted ?? names[0] ?? ""]?.port;
  if (named !== undefined) return named;
  const number = Number(wanted);
  if (Number.isInteger(number) && number >= 1 && number <= 65_535) return number;
  throw new BerthError("not_found", {
    kind: "port",
    name: wanted ?? "",
    hint: names.length === 0 ? `${ref.component} has no ports.` : `It has ${names.join(", ")}.`,
  });
}

async function* named<T>(component: string, lines: AsyncIterable<T>): AsyncIterable<T & { component: string }> {
  for await (const line of lines) yield { ...line, component };
}

function parseCommand(text: string): Command {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BerthError("invalid_request", { reason: "command is not JSON" }, { cause: error });
  }
  if (!Value.Check(Command, value))
    throw new BerthError("invalid_request", { reason: "command is neither {exec: [...]} nor {shell: ...}" });
  return value;
}
