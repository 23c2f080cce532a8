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
import { linesIn, runIn, runningIn, type Running, type RunsIn } from "./runtime-parts.ts";
import { allComponents } from "./store.ts";

export interface TerminalQuery {
  readonly instance?: string;
  readonly command: string;
  readonly tty?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}
export interface PortQuery {
  readonly instance?: string;
  /** Name or number. */
  readonly port?: string;
}
export type RuntimeService = ReturnType<typeof createRuntimeService>;

export function createRuntimeService(deps: ResourceDeps, stacks: StackService, components: ComponentService) {
  const opened: Opened = new Map();

  /** In order of time; nothing to resume from. */
  function allLogs(call: Call, of: readonly RunsIn[], query: LogQuery): AsyncIterable<Sent<LogLine>> {
    const { follow = false, ...rest } = query;
    const isSpread = new Set(of.map(({ cluster }) => cluster)).size > 1;
    const sources = of.map((one) => {
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
    async logs(call: Call, stackName: string, name: string, query: LogQuery): Promise<AsyncIterable<Sent<LogLine>>> {
      const { stack, component } = await components.find(call, stackName, name);
      const { follow, ...rest } = query;
      const places = await runIn(deps, stack, [component]);
      if (places.length > 1) return allLogs(call, places, query);
      const options = { ...rest, follow: follow ?? false, ...(call.lastEventId === undefined ? {} : { after: call.lastEventId }) };
      return sent(deps.places.engine(stack.cluster).logs(refOf(stack, name), options, call.signal), (line) => ({
        id: line.cursor,
        data: { ...line, component: name },
      }));
    },

    /** All components, in order of time as far as the past goes; a follower cannot resume by id, so that there is none. */
    async stackLogs(call: Call, stackName: string, query: LogQuery): Promise<AsyncIterable<Sent<LogLine>>> {
      const stack = await stacks.find(call, stackName);
      const rows = await allComponents(deps.db, stack.id);
      return allLogs(call, await runIn(deps, stack, rows), query);
    },

    async usage(call: Call, stackName: string) {
      const stack = await stacks.find(call, stackName);
      const rows = await allComponents(deps.db, stack.id);
      const byCluster = Map.groupBy(await runIn(deps, stack, rows), ({ cluster }) => cluster);
      const usage = (
        await Promise.all(
          [...byCluster].map(async ([cluster, of]) =>
            // Of the stack's own it is an error; others that are away use nothing that anybody could know.
            cluster !== stack.cluster && deps.addedClusters.state(cluster)?.connected === false
              ? []
              : deps.places.engine(cluster).usage(
                  of.map(({ ref }) => ref),
                  call.signal,
                ),
          ),
        )
      ).flat();
      return {
        items: rows.map((row) => ({
          component: row.name,
          instances: usage
            .filter((item) => item.ref.component === row.name)
            .map(({ instance, at, cpuSeconds, memory, processes }) => ({ instance, at, cpuSeconds, memory, processes })),
        })),
      };
    },

    /** Errors: `wrong_state` when nothing runs; `not_found` for an instance that is not there. */
    async terminal(call: Call, stackName: string, name: string, query: TerminalQuery): Promise<Session> {
      const { stack, component } = await components.find(call, stackName, name, "terminal.open");
      const command = parseCommand(query.command);
      const running = await runningIn(await runIn(deps, stack, [component]), call.signal);
      const { instance: chosen, engine, ref } = choose(component.name, running, query.instance, "Opening a terminal");
      await transaction(deps.db, (trx) =>
        audit(trx, call, "terminal.open", `component:${stackName}/${name}`, {
          instance: chosen.id,
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

    /** A connection to a port of an instance. Errors: `wrong_state` when nothing runs or nobody answers there; `not_found` for an instance or a port that is not there. */
    async port(call: Call, stackName: string, name: string, query: PortQuery): Promise<Duplex> {
      const { stack, component } = await components.find(call, stackName, name, "terminal.open");
      const running = await runningIn(await runIn(deps, stack, [component]), call.signal);
      const { instance: chosen, engine, ref } = choose(component.name, running, query.instance, "Forwarding a port");
      const port = portOf(ref, chosen, query.port);
      const subject = `component:${stackName}/${name}`;
      await writtenOnce(opened, `${call.by} ${subject} ${chosen.id} ${String(port)}`, () =>
        transaction(deps.db, (trx) => audit(trx, call, "port.open", subject, { instance: chosen.id, port: String(port) })),
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

/** The one that was named, or any, a ready one if there is one. */
function choose(component: string, running: readonly Running[], wanted: string | undefined, verb: string): Running {
  const chosen =
    wanted === undefined
      ? (running.find(({ instance }) => instance.ready) ?? running[0])
      : running.find(({ instance }) => instance.id === wanted);
  if (chosen !== undefined) return chosen;
  if (wanted !== undefined)
    throw new BerthError("not_found", {
      kind: "instance",
      name: wanted,
      hint: running.length === 0 ? "Nothing of it runs." : `These run: ${running.map(({ instance }) => instance.id).join(", ")}.`,
    });
  throw new BerthError("wrong_state", {
    verb,
    reason: `nothing of ${component} runs`,
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
