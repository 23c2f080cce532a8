// On which node an instance begins: the one with the fewest of its component, so that replicas are spread although each is a service of its own. The choice is taken back once
// its task has a node, so that Swarm may move it when that node is lost. What can only run on the manager's own node stays there for good.
import type { DockerApi } from "../../../docker/api.ts";
import { label, readOrder, type ContainerOrder } from "../../../engines/docker/labels.ts";
import { constraint } from "../../../engines/docker/service.ts";
import { hasEnded, newestFirst, type Service, type SwarmTask } from "./observed.ts";

/** ms that a task may wait for the node that was chosen for it. */
const patience = 3_000;
/** ms for which what this node is called is believed. */
const lasting = 10_000;

interface Node {
  readonly ID: string;
  readonly Spec: { readonly Availability: string };
  readonly Status: { readonly State: string };
  readonly Description?: { readonly Hostname?: string };
}

/** Its volumes, its image or what its checks run are on the manager's own node alone. */
function isPinned({ workload }: ContainerOrder): boolean {
  const { artifact, volumes, probes } = workload;
  return (
    volumes.length > 0 ||
    (artifact.kind === "image" && artifact.reference.startsWith("sha256:")) ||
    Object.values(probes).some((probe) => probe?.check.type === "exec")
  );
}

export class Placing {
  readonly #api: DockerApi;
  /** Services that were given a node for their beginning. */
  readonly #chosen = new Map<string, { readonly node: string; readonly component: string; readonly at: number }>();
  #choices = 0;
  #own: { readonly node: Promise<string>; readonly until: number } | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(api: DockerApi) {
    this.#api = api;
  }

  /** This daemon's node, as the Swarm knows it. */
  ownNode(): Promise<string> {
    // Another one only after it left the Swarm and joined again.
    if (this.#own === undefined || performance.now() > this.#own.until) {
      const asked = this.#api
        .json<{ readonly Swarm?: { readonly NodeID?: string } }>("GET", "/info")
        .then(({ Swarm }) => Swarm?.NodeID ?? "");
      this.#own = { node: asked, until: performance.now() + lasting };
      asked.catch(() => (this.#own = undefined));
    }
    return this.#own.node;
  }

  async nodeName(id: string): Promise<string> {
    return (await this.#nodes()).find((one) => one.ID === id)?.Description?.Hostname ?? id;
  }

  /** `choose` is called with the service's id once it is made. */
  of(
    order: ContainerOrder,
    tasks: ReadonlyMap<string, readonly SwarmTask[]>,
  ): Promise<{ readonly constraints: readonly string[]; readonly choose: (id: string) => void }> {
    // Instances that are made at the same moment count each other.
    const next = this.#turn.then(() => this.#place(order, tasks));
    this.#turn = next.catch(() => undefined);
    return next;
  }

  async #place(
    order: ContainerOrder,
    tasks: ReadonlyMap<string, readonly SwarmTask[]>,
  ): Promise<{ readonly constraints: readonly string[]; readonly choose: (id: string) => void }> {
    if (isPinned(order)) return { constraints: [constraint.node(await this.ownNode())], choose: () => undefined };
    const nodes = (await this.#nodes()).filter((one) => one.Status.State === "ready" && one.Spec.Availability === "active");
    if (nodes.length < 2) return { constraints: [], choose: () => undefined };
    const component = `${order.workload.stackId}/${order.ref.component}`;
    const live = [...tasks].flatMap(([service, those]) => (this.#chosen.has(service) ? [] : those.filter((one) => !hasEnded(one))));
    const chosen = [...this.#chosen.values()];
    const own = (node: Node): number =>
      live.filter((one) => one.NodeID === node.ID && componentOf(one) === component).length +
      chosen.filter((one) => one.node === node.ID && one.component === component).length;
    const all = (node: Node): number =>
      live.filter((one) => one.NodeID === node.ID).length + chosen.filter((one) => one.node === node.ID).length;
    const [best] = nodes.sort((a, b) => own(a) - own(b) || all(a) - all(b));
    if (best === undefined) return { constraints: [], choose: () => undefined };
    const draft = `draft ${String((this.#choices += 1))}`;
    const choice = { node: best.ID, component, at: Date.now() };
    this.#chosen.set(draft, choice);
    return {
      constraints: [constraint.node(best.ID)],
      choose: (id) => {
        this.#chosen.delete(draft);
        this.#chosen.set(id, choice);
      },
    };
  }

  /** Choices of an agent that was there before. */
  recall(services: readonly Service[]): void {
    for (const { ID, Spec, CreatedAt } of services) {
      const [only] = Spec.TaskTemplate.Placement?.Constraints ?? [];
      const order = readOrder(Spec.Labels, Spec.TaskTemplate.ContainerSpec.Env ?? []);
      if (only === undefined || only === constraint.nowhere || order === undefined || isPinned(order)) continue;
      this.#chosen.set(ID, { node: only, component: "", at: Date.parse(CreatedAt) });
    }
  }

  /** Takes choices back that have served. */
  async relax(tasks: ReadonlyMap<string, readonly SwarmTask[]>, free: (service: string) => Promise<unknown>): Promise<void> {
    for (const [id, { at }] of this.#chosen) {
      const [newest] = newestFirst(tasks.get(id) ?? []);
      const isOld = Date.now() - at > patience;
      if (newest === undefined ? isOld : (newest.NodeID ?? "") !== "" || isOld) {
        this.#chosen.delete(id);
        if (!id.startsWith("draft ")) await free(id);
      }
    }
  }

  #nodes(): Promise<Node[]> {
    return this.#api.json<Node[]>("GET", "/nodes");
  }
}

function componentOf({ Spec }: SwarmTask): string {
  const labels = Spec.ContainerSpec?.Labels ?? {};
  return `${labels[label.stackId] ?? ""}/${labels[label.component] ?? ""}`;
}
