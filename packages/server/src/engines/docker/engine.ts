// The Docker engine: containers of one daemon (Docker or podman), which the edge's agent of containers makes and watches.
import { holdsSecret } from "../workload.ts";
import { cause } from "@berth/contract/causes.ts";
import { registryOf, type FindLogin } from "../../core/image/reference.ts";
import { AgentEngine, type AgentEngineDeps } from "../agent/engine.ts";
import type {
  DoorAnswer,
  ImageAnswer,
  Pending,
  PrepareRequest,
  ResolveRequest,
  SweepAnswer,
  SweepRequest,
  VolumesAnswer,
} from "../agent/protocol.ts";
import { containerBody, containerName } from "./container.ts";
import { label, splitVariable, type ContainerOrder } from "./labels.ts";
import { serviceSpec } from "./service.ts";
import { EngineFailure, StillPreparing, type Fence, type Ref, type ResolvedImage, type VolumePort, type Workload } from "../engine.ts";

export interface DockerEngineDeps extends AgentEngineDeps {
  /** Absent where nothing is pulled. */
  readonly login?: FindLogin;
  /** Whether instances are services of a Swarm. */
  readonly swarm?: boolean;
}

function withoutSecrets(workload: Workload, environment: readonly string[]): string[] {
  return environment.map((text) => (holdsSecret(workload, splitVariable(text)[1]) ? `${splitVariable(text)[0]}=(secret)` : text));
}

function renderedService(order: ContainerOrder): { readonly name: string; readonly body: unknown } {
  const { Labels, TaskTemplate, ...rest } = serviceSpec(order, { constraints: [] });
  const { [label.order]: _order, ...labels } = Labels;
  const { ContainerSpec } = TaskTemplate;
  const container = { ...ContainerSpec, Env: withoutSecrets(order.workload, ContainerSpec.Env ?? []) };
  return {
    name: `service ${containerName(order)}`,
    body: { ...rest, Labels: labels, TaskTemplate: { ...TaskTemplate, ContainerSpec: container } },
  };
}

export class DockerEngine extends AgentEngine {
  readonly kind = "docker";
  protected readonly rendered = "container";
  protected readonly unreached = { isolation: ["namespace"], volumes: "mount" } as const;

  readonly #login: FindLogin;
  readonly #swarm: boolean;

  constructor(deps: DockerEngineDeps) {
    super(deps);
    this.#swarm = deps.swarm === true;
    this.#login = deps.login ?? (() => Promise.resolve(undefined));
  }

  /** The body of the daemon's, or the Swarm's, create call; id and address are given when it is made. */
  override render(workload: Workload): { readonly name: string; readonly body: unknown }[] {
    const fence = { installation: "", epoch: 0, generation: 0 };
    const order = {
      id: workload.ref.component,
      ref: workload.ref,
      track: "stable",
      restart: 0,
      workload,
      fence,
      createdAt: 0,
      address: "",
    } as const;
    if (this.#swarm) return [renderedService(order)];
    const { Labels, Env, NetworkingConfig: _given, ...body } = containerBody(order, { init: true });
    const { [label.order]: _order, ...labels } = Labels;
    return [{ name: `container ${containerName(order)}`, body: { ...body, Env: withoutSecrets(workload, Env), Labels: labels } }];
  }

  async prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void> {
    const image = workload.artifact.kind === "image" ? workload.artifact.reference : "";
    await this.#asking<object>(image, (login) =>
      this.agent.call("POST", "/v1/prepare", { workload, fence, patient: true, ...login } satisfies PrepareRequest, signal),
    );
  }

  async forget(
    { id, name, volumes }: { readonly id: string; readonly name: string; readonly volumes: "kept" | "none" },
    signal: AbortSignal,
  ): Promise<boolean> {
    if (!(await this.hasEnded({ id, name }, signal))) return false;
    if (volumes === "none") for (const volume of await this.volumes.list(id, signal)) await this.volumes.remove(id, volume.name, signal);
    await this.agent.call("DELETE", `/v1/stacks/${id}`, undefined, signal);
    return true;
  }

  async door(ref: Ref, stackId: string, signal: AbortSignal): Promise<string> {
    const path = `/v1/doors/${encodeURIComponent(stackId)}/${ref.stack}/${ref.component}`;
    return ((await this.agent.call("PUT", path, undefined, signal)) as DoorAnswer).address;
  }

  async resolveImage(name: string, signal: AbortSignal): Promise<ResolvedImage> {
    return this.#asking<ResolvedImage>(name, (login) =>
      this.agent.call("POST", "/v1/images", { name, patient: true, ...login } satisfies ResolveRequest, signal),
    );
  }

  async holdsImage(reference: string, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#asking<ImageAnswer>(reference, (login) =>
      this.agent.call("POST", "/v1/held-images", { name: reference, ...login } satisfies ResolveRequest, signal),
    );
    return answer.there;
  }

  /** A call that may ask a registry, with who is to ask it. Credentials go over the agent's socket and into nothing that is kept. */
  async #asking<T>(image: string, call: (login: Pick<PrepareRequest, "login">) => Promise<unknown>): Promise<T> {
    // An id names nothing in a registry.
    const found = image === "" || image.startsWith("sha256:") ? undefined : await this.#login(registryOf(image));
    const login = found?.readable === true ? { host: found.host, username: found.username, password: found.password } : undefined;
    let answer: T | Pending;
    try {
      answer = (await call(login === undefined ? {} : { login })) as T | Pending;
    } catch (error) {
      if (found?.readable !== false || !(error instanceof EngineFailure) || error.failure.code !== "image_denied") throw error;
      throw new EngineFailure(cause("registry_unreadable", { registry: found.host, image }, error.failure.evidence), {
        retryable: false,
        cause: error,
      });
    }
    const { pending, pull } = (answer ?? {}) as Partial<Pending>;
    if (pending === true) throw new StillPreparing(`${image} is being pulled`, pull === undefined ? undefined : { image, ...pull });
    return answer as T;
  }

  async removeImages(
    { from, before, ...order }: { readonly keep: readonly string[]; readonly from: Date; readonly before: Date; readonly prefix?: string },
    signal: AbortSignal,
  ): Promise<number> {
    const body: SweepRequest = { ...order, from: from.getTime(), before: before.getTime() };
    return ((await this.agent.call("POST", "/v1/image-sweeps", body, signal)) as SweepAnswer).removed;
  }

  readonly volumes: VolumePort = {
    list: async (stackId, signal) => {
      const { volumes } = (await this.agent.call("GET", `/v1/volumes/${encodeURIComponent(stackId)}`, undefined, signal)) as VolumesAnswer;
      return [...volumes];
    },
    remove: async (stackId, name, signal) => {
      await this.agent.call("DELETE", `/v1/volumes/${encodeURIComponent(stackId)}/${encodeURIComponent(name)}`, undefined, signal);
    },
    snapshot: (stackId, name, signal) =>
      this.agent.download(`/v1/archives/${encodeURIComponent(stackId)}/${encodeURIComponent(name)}`, signal),
    restore: ({ stack, stackName, name }, archive, signal) =>
      this.agent.upload(
        `/v1/archives/${encodeURIComponent(stack)}/${encodeURIComponent(name)}/${encodeURIComponent(stackName)}`,
        archive,
        signal,
      ),
  };
}
