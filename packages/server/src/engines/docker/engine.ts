// The Docker engine: containers of one daemon (Docker or podman), which the edge's agent of containers makes and watches.
import { holdsSecret } from "../workload.ts";
import { AgentEngine } from "../agent/engine.ts";
import type { DoorAnswer, ImageAnswer, PrepareRequest, ResolveRequest, VolumesAnswer } from "../agent/protocol.ts";
import { containerBody, containerName } from "./container.ts";
import { label, splitVariable } from "./labels.ts";
import type { Fence, Ref, ResolvedImage, VolumePort, Workload } from "../engine.ts";

export class DockerEngine extends AgentEngine {
  readonly kind = "docker";
  protected readonly rendered = "container";
  protected readonly unreached = { isolation: ["namespace"], volumes: "mount" } as const;

  /** The body of the daemon's create call; id and address are given when it is made. */
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
    const { Labels, Env, NetworkingConfig: _given, ...body } = containerBody(order, { init: true });
    const shown = Env.map((text) => (holdsSecret(workload, splitVariable(text)[1]) ? `${splitVariable(text)[0]}=(secret)` : text));
    const { [label.order]: _order, ...labels } = Labels;
    return [{ name: `container ${containerName(order)}`, body: { ...body, Env: shown, Labels: labels } }];
  }

  async prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.agent.call("POST", "/v1/prepare", { workload, fence } satisfies PrepareRequest, signal);
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
    return (await this.agent.call("POST", "/v1/images", { name } satisfies ResolveRequest, signal)) as ResolvedImage;
  }

  async holdsImage(reference: string, signal: AbortSignal): Promise<boolean> {
    const answer = (await this.agent.call("GET", `/v1/images/${encodeURIComponent(reference)}`, undefined, signal)) as ImageAnswer;
    return answer.there;
  }

  readonly volumes: VolumePort = {
    list: async (stackId, signal) => {
      const { volumes } = (await this.agent.call("GET", `/v1/volumes/${encodeURIComponent(stackId)}`, undefined, signal)) as VolumesAnswer;
      return [...volumes];
    },
    remove: async (stackId, name, signal) => {
      await this.agent.call("DELETE", `/v1/volumes/${encodeURIComponent(stackId)}/${encodeURIComponent(name)}`, undefined, signal);
    },
  };
}
