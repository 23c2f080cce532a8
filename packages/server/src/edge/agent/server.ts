// An agent's socket: translates calls into orders to whoever holds the instances and the tasks, and what they know into answers. It decides nothing.
// The agent of a machine's processes and the one of a daemon's containers are asked the same; what only one of them is asked stands in its `more`.
import type { Server } from "node:http";
import { namePattern } from "@berth/contract/names.ts";
import { Type, type Static, type TSchema } from "typebox";
import { Value } from "typebox/value";
import { BerthError } from "../../core/errors.ts";
import type { Capabilities, Ref, TaskRun, TrackTarget } from "../../engines/engine.ts";
import type {
  CapabilitiesAnswer,
  LeftAnswer,
  ObserveAnswer,
  RecordsAnswer,
  TaskAnswer,
  UsageAnswer,
  WatchLine,
} from "../../engines/agent/protocol.ts";
import { acceptExec, type BeginSession } from "./exec.ts";
import { FenceSchema, type Fences } from "./fences.ts";
import { bodyOf, serve, type Call } from "./http.ts";
import type { InstanceOrders, TaskOrders } from "./orders.ts";

export interface ServerDeps {
  readonly fences: Fences;
  readonly instances: InstanceOrders;
  readonly tasks: TaskOrders;
  /** Why nothing can be answered yet; undefined = everything can. */
  readonly refusal?: () => Error | undefined;
  /** Whether `capabilities` answers while everything else is refused. */
  readonly tellsAway?: boolean;
  readonly capabilities: () => Capabilities | Promise<Capabilities>;
  readonly beginSession: BeginSession;
  /** Calls that only this kind of agent knows, by method, version and noun as in `PUT v1/stacks`; undefined = not known. */
  readonly more: (key: string, call: Call) => Promise<object | "answered" | undefined> | undefined;
  readonly onError: (error: unknown) => void;
}

const name = Type.String({ pattern: namePattern });
export const RefSchema = Type.Object({ stack: name, component: name });
/** What this process itself relies on; the rest of a workload was checked where it was made. */
export const WorkloadSchema = Type.Object({
  ref: RefSchema,
  stackId: Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$" }),
  releaseHash: Type.String({ minLength: 1 }),
  workdir: Type.String(),
  env: Type.Record(Type.String(), Type.String()),
  ports: Type.Array(Type.Object({ name })),
  volumes: Type.Array(Type.Object({ volume: name, path: Type.String({ pattern: "^/" }) })),
  secretValues: Type.Array(Type.String()),
  artifact: Type.Union([
    Type.Object({ kind: Type.Literal("bundle"), digest: Type.String({ pattern: "^sha256:[0-9a-f]{64}$" }) }),
    Type.Object({ kind: Type.Literal("image"), reference: Type.String() }),
  ]),
});
const EnsureBody = Type.Object({
  target: Type.Object({
    ref: RefSchema,
    track: Type.Union([Type.Literal("stable"), Type.Literal("candidate")]),
    restart: Type.Integer(),
    replicas: Type.Integer({ minimum: 0, maximum: 1000 }),
    workload: WorkloadSchema,
  }),
  fence: FenceSchema,
});
const StopBody = Type.Object({
  ref: RefSchema,
  instances: Type.Array(Type.String()),
  grace: Type.Number({ minimum: 0 }),
  fence: FenceSchema,
});
const RefBody = Type.Object({ ref: RefSchema, fence: FenceSchema });
const UsageBody = Type.Object({ refs: Type.Array(RefSchema) });
const TaskBody = Type.Object({
  task: Type.Object({
    id: Type.String({ pattern: "^[a-z0-9][a-z0-9-]{0,62}$" }),
    deadline: Type.Number({ minimum: 0 }),
    tty: Type.Boolean(),
    workload: WorkloadSchema,
  }),
  fence: FenceSchema,
});
const EpochBody = Type.Pick(FenceSchema, ["installation", "epoch"]);
const CancelBody = Type.Object({ grace: Type.Number({ minimum: 0 }) });

/** The body, checked. Errors: `invalid_request`. */
export async function read<T extends TSchema>(call: Call, schema: T): Promise<Static<T>> {
  const value = await bodyOf(call.request);
  if (Value.Check(schema, value)) return value;
  const first = Value.Errors(schema, value)[0];
  throw new BerthError("invalid_request", { reason: `${first?.instancePath ?? ""} ${first?.message ?? "is not valid"}`.trim() });
}

const refOf = (stack: string | undefined, component: string | undefined): Ref => {
  const ref = { stack, component };
  if (Value.Check(RefSchema, ref)) return ref;
  throw new BerthError("invalid_request", { reason: "stack and component have to be names" });
};

export function createAgentServer(deps: ServerDeps): Server {
  const server = serve((call) => route(deps, call), deps.onError);
  server.on("upgrade", (request, socket, head) => acceptExec(deps.beginSession, request, socket, head));
  return server;
}

async function route(deps: ServerDeps, call: Call): Promise<object | "answered" | undefined> {
  const { instances, tasks } = deps;
  const [version, noun, first, second] = call.path;
  const key = `${call.request.method ?? ""} ${version ?? ""}/${noun ?? ""}`;
  if (key === "GET v1/hello") return { pid: process.pid };
  const refusal = deps.refusal?.();
  // What there is to be said of the place is said while nothing can be done there.
  if (refusal !== undefined && !(key === "GET v1/capabilities" && deps.tellsAway === true)) throw refusal;
  switch (key) {
    case "GET v1/capabilities":
      return { capabilities: await deps.capabilities() } satisfies CapabilitiesAnswer;
    case "PUT v1/instances": {
      const { target, fence } = await read(call, EnsureBody);
      // Checked above as far as this process relies on it; newer fields pass through unharmed.
      return instances.ensure(target as unknown as TrackTarget, fence).then(() => undefined);
    }
    case "POST v1/instances": {
      const body = await read(call, StopBody);
      return instances.stop(body.ref, body.instances, body.grace, body.fence).then(() => undefined);
    }
    case "DELETE v1/components": {
      const { ref, fence } = await read(call, RefBody);
      return instances.remove(ref, fence).then(() => undefined);
    }
    case "POST v1/fences": {
      const { ref, fence } = await read(call, RefBody);
      deps.fences.pass(ref, fence);
      return undefined;
    }
    case "PUT v1/epoch": {
      deps.fences.raiseEpoch(await read(call, EpochBody));
      return undefined;
    }
    case "GET v1/records":
      return { records: instances.records() } satisfies RecordsAnswer;
    case "GET v1/components": {
      if (first === undefined) return { observed: await instances.list() } satisfies ObserveAnswer;
      const observed = await instances.observe(refOf(first, second));
      return { observed: observed === undefined ? [] : [observed] } satisfies ObserveAnswer;
    }
    case "POST v1/usage":
      return { usage: await instances.usage((await read(call, UsageBody)).refs) } satisfies UsageAnswer;
    case "GET v1/watch":
      return watch(instances, call);
    case "GET v1/left": {
      const ref = refOf(first, second);
      return { left: instances.left(ref) + tasks.left(ref) } satisfies LeftAnswer;
    }
    case "PUT v1/tasks": {
      const { task, fence } = await read(call, TaskBody);
      return tasks.start(task as unknown as TaskRun, fence).then(() => undefined);
    }
    case "GET v1/tasks": {
      const found = await tasks.state(first ?? "");
      if (found === undefined) throw new BerthError("not_found", { kind: "task", name: first ?? "", hint: "It was never seen here." });
      return found satisfies TaskAnswer;
    }
    case "POST v1/tasks": {
      const { grace } = await read(call, CancelBody);
      await tasks.cancel(first ?? "", grace);
      return undefined;
    }
    default: {
      const answer = deps.more(key, call);
      if (answer !== undefined) return answer;
      throw new BerthError("not_found", { kind: "path", name: call.url.pathname, hint: "The agent's socket is for the control plane." });
    }
  }
}

function watch(instances: InstanceOrders, { request, response }: Call): "answered" {
  response.writeHead(200, { "content-type": "application/jsonl" });
  response.write("\n");
  const end = instances.watch((ref) => {
    // A reader that does not keep up loses hints only; the truth is in `observe`.
    if (response.writableLength < 1_048_576) response.write(`${JSON.stringify({ ref } satisfies WatchLine)}\n`);
  });
  const alive = setInterval(() => response.write("\n"), 10_000);
  request.resume();
  response.once("close", () => {
    clearInterval(alive);
    end();
  });
  return "answered";
}
