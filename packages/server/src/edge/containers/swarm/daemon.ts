// A Swarm as the agent of containers uses it: each instance is a service of one replica, and its id stands where a container's stands elsewhere. Swarm starts it again after
// a crash, and on another node when its own is lost or drained; orders, addresses and ends stay Berth's.
import { setTimeout as sleep } from "node:timers/promises";
import { cause } from "@berth/contract/causes.ts";
import { BerthError } from "../../../core/errors.ts";
import type { DockerApi } from "../../../docker/api.ts";
import { DockerError } from "../../../docker/errors.ts";
import { label, type ContainerOrder } from "../../../engines/docker/labels.ts";
import { addressLabel, constraint, serviceSpec, type ServiceSpec } from "../../../engines/docker/service.ts";
import { EngineFailure } from "../../../engines/engine.ts";
import { registryOf } from "../../../core/image/reference.ts";
import { authHeader } from "../../../docker/registry-auth.ts";
import type { Say } from "../../complaints.ts";
import { errorText } from "../../agent/files.ts";
import { Daemon, orAbsent, type DaemonEvent, type DaemonInfo, type Inspected, type Stats } from "../daemon.ts";
import { gateKey, Gates, type GateOf } from "./gates.ts";
import {
  addressOf,
  hasEnded,
  inspectedOf,
  isStopped,
  lastRun,
  newestFirst,
  runningTask,
  signatureOf,
  type Service,
  type SwarmTask,
} from "./observed.ts";
import { Placing } from "./placing.ts";

/** ms between two looks at all tasks: while something is on its way, and else. */
const period = { busy: 150, calm: 1_000 };
/** ms after which a service whose task is over, and which Swarm should have started again, is pushed. */
const patience = 5_000;
/** Exit code of what SIGKILL ended. */
const killedCode = 137;
/** ms that a program has at least between being asked to end and being ended, when it has a grace at all. */
const chance = 300;

interface Info {
  readonly Swarm?: { readonly NodeID?: string; readonly LocalNodeState?: string; readonly ControlAvailable?: boolean };
}

export class SwarmDaemon extends Daemon {
  override readonly networkKind = "overlay";
  override readonly outputOf = "service";
  readonly #gates: Gates;
  readonly #placing: Placing;
  readonly #say: Say;
  /** What is being stopped: when it was told so (a time of this process, ms). */
  readonly #told = new Map<string, number>();
  /** Who may pull an image, by registry; other nodes are told with the service. */
  readonly #logins = new Map<string, Readonly<Record<string, string>>>();

  constructor(api: DockerApi, installation: string, say: Say) {
    super(api, installation);
    const plain = new Daemon(api, installation);
    this.#gates = new Gates(plain);
    this.#placing = new Placing(api);
    this.#say = say;
  }

  override async info(signal?: AbortSignal): Promise<DaemonInfo> {
    const { Swarm } = await this.api.json<Info>("GET", "/info", { signal });
    return { ...(await super.info(signal)), manager: Swarm?.ControlAvailable === true };
  }

  /** Credentials with which other nodes get an image. */
  override remember(
    image: string,
    login: { readonly host: string; readonly username: string; readonly password: string } | undefined,
  ): void {
    if (login !== undefined) this.#logins.set(registryOf(image), authHeader(login));
  }

  override async list(): Promise<ReadonlyMap<string, string>> {
    const tasks = await this.#tasks();
    return new Map((await this.#services()).map((one) => [one.ID, inspectedOf(one, tasks.get(one.ID) ?? []).State.Status]));
  }

  override async inspect(id: string): Promise<Inspected | undefined> {
    const service = await this.#service(id);
    if (service === undefined) return undefined;
    const tasks = await this.#tasksOf(id);
    const seen = inspectedOf(service, tasks);
    const isEnding = seen.State.Running ? isStopped(service) : seen.State.ExitCode === killedCode;
    if (!isEnding) return seen;
    // Swarm tells of an end up to two seconds late, and of memory not at all; this node's own daemon does.
    const container = lastRun(tasks)?.Status.ContainerStatus?.ContainerID ?? "";
    const own = container === "" ? undefined : await super.inspect(container);
    if (own === undefined || own.State.Running) return seen;
    const { OOMKilled, ExitCode, FinishedAt } = own.State;
    return { ...seen, State: { ...seen.State, Status: "exited", Running: false, OOMKilled, ExitCode, FinishedAt } };
  }

  override async create(order: ContainerOrder): Promise<string> {
    const { workload } = order;
    if (workload.securityProfile === "privileged")
      throw new EngineFailure(cause("start_failed", { reason: "a service of a Swarm cannot be privileged" }), { retryable: false });
    await this.#gates.open(gateOf(order));
    const { constraints, choose } = await this.#placing.of(order, await this.#tasks());
    const image = workload.artifact.kind === "image" ? workload.artifact.reference : "";
    const { ID } = await this.api.json<{ readonly ID: string }>("POST", "/services/create", {
      body: serviceSpec(order, { constraints }),
      headers: this.#logins.get(registryOf(image)) ?? {},
    });
    choose(ID);
    return ID;
  }

  /** Swarm starts by itself what was made. What somebody scaled to none, or what Swarm left lying, is begun again. */
  override async start(id: string): Promise<void> {
    const service = await this.#service(id);
    if (service === undefined) throw new DockerError(404, `no such service: ${id}`);
    const [newest] = newestFirst(await this.#tasksOf(id));
    const isLying = newest !== undefined && hasEnded(newest) && Date.now() - Date.parse(newest.Status.Timestamp) > patience;
    if (isStopped(service) || isLying) await this.#update(id, (spec) => again({ ...spec, Mode: { Replicated: { Replicas: 1 } } }));
  }

  /** Its task ends, and stays readable: a service that is scaled to none loses its last words. */
  override async stop(id: string, seconds: number): Promise<void> {
    this.#told.set(id, seconds > 0 ? Infinity : 0);
    try {
      if (!(await this.#update(id, (spec) => again(spec, [constraint.nowhere])))) return;
      const container = await this.#containerHere(id);
      if (seconds > 0) this.#told.set(id, performance.now());
      // With this grace, where it is this node's own. On others Swarm ends it with the workload's.
      if (container !== undefined) await super.stop(container, seconds);
      for (const until = performance.now() + (seconds + 60) * 1_000; performance.now() < until; await sleep(100))
        if (runningTask(await this.#tasksOf(id)) === undefined) return;
    } finally {
      this.#told.delete(id);
    }
  }

  /** Swarm ends the run with the workload's own grace, and begins the next. */
  override async restart(id: string): Promise<void> {
    await this.#update(id, again);
  }

  /** On another node than this one Swarm itself does so when the grace of the workload is over. */
  override async kill(id: string, signal: string): Promise<void> {
    // A manager that is slow to pass a stop on takes no program its chance to end by itself: this is asked again.
    if (performance.now() - (this.#told.get(id) ?? 0) < chance) return;
    const container = await this.#containerHere(id);
    if (container !== undefined) await super.kill(container, signal);
  }

  async #containerHere(id: string): Promise<string | undefined> {
    const task = runningTask(await this.#tasksOf(id));
    const container = task?.Status.ContainerStatus?.ContainerID ?? "";
    return task === undefined || container === "" || task.NodeID !== (await this.#placing.ownNode()) ? undefined : container;
  }

  override async remove(id: string): Promise<void> {
    await orAbsent(this.api.json("DELETE", `/services/${id}`));
  }

  /** A Swarm's stream of events says nothing of tasks: they are looked at, all with one call. Leads addresses to where things run as well. */
  override async *events(signal: AbortSignal): AsyncGenerator<DaemonEvent> {
    this.#gates.forgetApplied();
    this.#placing.recall(await this.#services());
    let before = new Map<string, string>();
    const over = new Set<string>();
    for (let first = true; !signal.aborted; first = false) {
      const all = await this.#tasks();
      await this.#lead(all);
      await this.#placing.relax(all, (id) => this.#update(id, freed));
      const now = new Map([...all].map(([id, tasks]) => [id, signatureOf(tasks)]));
      for (const [id, tasks] of all) for (const event of endsIn(id, tasks, over, first)) yield event;
      for (const id of new Set([...before.keys(), ...now.keys()]))
        if (!first && before.get(id) !== now.get(id)) yield { Type: "service", Action: "update", Actor: { ID: id, Attributes: {} } };
      before = now;
      const isBusy = [...all.values()].some((tasks) => tasks.some((one) => one.DesiredState !== one.Status.State && !hasEnded(one)));
      await sleep(isBusy ? period.busy : period.calm, undefined, { signal }).catch(() => undefined);
    }
  }

  override async createExec(id: string, body: object, signal: AbortSignal): Promise<string> {
    return super.createExec(await this.#here(id), body, signal);
  }

  override async stats(id: string): Promise<Stats | undefined> {
    const container = await this.#here(id).catch(() => undefined);
    return container === undefined ? undefined : super.stats(container);
  }

  override async openDoor(of: GateOf, address: string): Promise<void> {
    await this.#gates.open(of, address);
  }

  override async clearNetwork(stackId: string): Promise<void> {
    await this.#gates.remove(stackId);
  }

  override removeNetwork(name: string): Promise<void> {
    return onceUnused(() => super.removeNetwork(name));
  }

  override removeVolume(name: string): Promise<void> {
    return onceUnused(() => super.removeVolume(name));
  }

  /** The container that it runs as now. Errors: `wrong_state` when that is on another node. */
  async #here(id: string): Promise<string> {
    const task = runningTask(await this.#tasksOf(id));
    const container = task?.Status.ContainerStatus?.ContainerID;
    if (task === undefined || container === undefined) throw new DockerError(409, "it does not run now");
    if (task.NodeID === (await this.#placing.ownNode())) return container;
    const node = await this.#placing.nodeName(task.NodeID ?? "");
    throw new BerthError("wrong_state", {
      verb: "Entering this instance",
      reason: `it runs on the node ${node} of the Swarm, and Berth speaks to the manager's own daemon only`,
      hint: `Use \`docker exec\` on ${node}.`,
    });
  }

  async #lead(all: ReadonlyMap<string, readonly SwarmTask[]>): Promise<void> {
    const gates = new Map<string, { readonly of: GateOf; readonly ways: Map<string, string | undefined> }>();
    for (const tasks of all.values()) {
      const labels = tasks[0]?.Spec.ContainerSpec?.Labels ?? {};
      const address = labels[addressLabel] ?? "";
      const of = { stackId: labels[label.stackId] ?? "", stack: labels[label.stack] ?? "", component: labels[label.component] ?? "" };
      if (address === "") continue;
      const key = gateKey(of);
      const gate = gates.get(key) ?? { of, ways: new Map<string, string | undefined>() };
      gate.ways.set(address, addressOf(tasks));
      gates.set(key, gate);
    }
    await this.#gates.lead(gates).catch((error: unknown) => {
      this.#say("ways not led", { error: error instanceof EngineFailure ? JSON.stringify(error.failure.params) : errorText(error) });
      this.#gates.forgetApplied();
    });
  }

  /** Of this installation, by the id of their service; newest first. */
  async #tasks(): Promise<ReadonlyMap<string, readonly SwarmTask[]>> {
    const found = new Map<string, SwarmTask[]>();
    for (const task of newestFirst(await this.#asked<SwarmTask[]>("GET", "/tasks"))) {
      const labels = task.Spec.ContainerSpec?.Labels;
      if (task.ServiceID === undefined || labels?.[label.installation] !== this.installation || labels[label.role] === undefined) continue;
      const those = found.get(task.ServiceID);
      if (those === undefined) found.set(task.ServiceID, [task]);
      else those.push(task);
    }
    return found;
  }

  #tasksOf(id: string): Promise<readonly SwarmTask[]> {
    return this.#asked<SwarmTask[]>("GET", "/tasks", { filters: JSON.stringify({ service: [id] }) }).catch((error: unknown) => {
      if (error instanceof DockerError && error.status === 404) return [];
      throw error;
    });
  }

  #services(): Promise<readonly Service[]> {
    const filters = JSON.stringify({ label: [`${label.installation}=${this.installation}`, label.role] });
    return this.#asked<Service[]>("GET", "/services", { filters });
  }

  #service(id: string): Promise<Service | undefined> {
    return orAbsent(this.#asked<Service>("GET", `/services/${id}`));
  }

  async #asked<T>(method: "GET", path: string, query: Readonly<Record<string, string>> = {}): Promise<T> {
    try {
      return await this.api.json<T>(method, path, { query });
    } catch (error) {
      if (error instanceof DockerError && /not a swarm manager|not part of a swarm|does not have a leader/i.test(error.message))
        throw new EngineFailure(cause("swarm_not_manager", { daemon: this.api.name, reason: error.message.slice(0, 300) }), {
          retryable: true,
          cause: error,
        });
      throw error;
    }
  }

  /** false: there is none. What somebody else changes at the same moment is taken along. */
  async #update(id: string, change: (spec: ServiceSpec) => ServiceSpec): Promise<boolean> {
    for (let left = 20; ; left -= 1) {
      const service = await this.#service(id);
      if (service === undefined) return false;
      try {
        await orAbsent(
          this.api.json("POST", `/services/${id}/update`, {
            // Credentials for other nodes stay those that it was made with.
            query: { version: service.Version.Index, registryAuthFrom: "spec" },
            body: change(service.Spec),
          }),
        );
        return true;
      } catch (error) {
        if (left === 0 || !(error instanceof DockerError && /out of sequence/i.test(error.message))) throw error;
        await sleep(50);
      }
    }
  }
}

/** Tasks of services that are gone hold networks and volumes a moment longer. */
async function onceUnused(remove: () => Promise<void>): Promise<void> {
  for (const until = performance.now() + 20_000; ; await sleep(100))
    try {
      return await remove();
    } catch (error) {
      if (!(error instanceof DockerError && /in use|has active endpoints/i.test(error.message)) || performance.now() > until) throw error;
    }
}

const gateOf = ({ workload, ref }: ContainerOrder): GateOf => ({ stackId: workload.stackId, stack: ref.stack, component: ref.component });

const placed = (spec: ServiceSpec, constraints: readonly string[]): ServiceSpec => ({
  ...spec,
  TaskTemplate: { ...spec.TaskTemplate, Placement: { ...spec.TaskTemplate.Placement, Constraints: constraints } },
});

/** What was stopped meanwhile stays where nothing runs. */
const freed = (spec: ServiceSpec): ServiceSpec =>
  (spec.TaskTemplate.Placement?.Constraints ?? []).includes(constraint.nowhere) ? spec : placed(spec, []);

/** With a change that makes Swarm end the run. Where nothing else is said it begins the next one, wherever it was allowed to. */
function again(spec: ServiceSpec, constraints?: readonly string[]): ServiceSpec {
  const before = spec.TaskTemplate.Placement?.Constraints ?? [];
  const next = placed(spec, constraints ?? before.filter((one) => one !== constraint.nowhere));
  return { ...next, TaskTemplate: { ...next.TaskTemplate, ForceUpdate: (spec.TaskTemplate.ForceUpdate ?? 0) + 1 } };
}

/** Runs that ended since the last look. */
function endsIn(id: string, tasks: readonly SwarmTask[], over: Set<string>, quietly: boolean): DaemonEvent[] {
  return [...tasks].reverse().flatMap((task): DaemonEvent[] => {
    if (!hasEnded(task) || over.has(task.ID)) return [];
    over.add(task.ID);
    const code = task.Status.ContainerStatus?.ExitCode;
    if (quietly || code === undefined || code < 0) return [];
    const time = Date.parse(task.Status.Timestamp);
    return [{ Type: "service", Action: "die", Actor: { ID: id, Attributes: { exitCode: String(code) } }, timeNano: time * 1e6 }];
  });
}
