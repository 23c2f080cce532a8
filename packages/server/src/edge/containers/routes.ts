// What only the agent of containers is asked: to prepare, and about volumes and whole stacks.
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "../../core/errors.ts";
import { DockerError } from "../../docker/errors.ts";
import { Type } from "typebox";
import { volumeLabels, volumeName } from "../../engines/docker/container.ts";
import type { DoorAnswer, ImageAnswer, Pending, SweepAnswer, VolumesAnswer } from "../../engines/agent/protocol.ts";
import type { Ref, ResolvedImage, Workload } from "../../engines/engine.ts";
import { FenceSchema, type Fences } from "../agent/fences.ts";
import type { Call } from "../agent/http.ts";
import { read, WorkloadSchema, type ServerDeps } from "../agent/server.ts";
import { Archives } from "./archives.ts";
import type { Containers } from "./containers.ts";
import type { Daemon } from "./daemon.ts";
import { isHeld, Pulls, resolveImage } from "./images.ts";
import { sweepImages } from "./sweep.ts";
import type { Doors } from "./doors.ts";
import type { Networks } from "./networks.ts";
import type { ContainerTasks } from "./tasks.ts";

export interface ContainerRoutes {
  readonly daemon: Daemon;
  readonly networks: Networks;
  readonly doors: Doors;
  readonly fences: Fences;
  readonly instances: Containers;
  readonly tasks: ContainerTasks;
}

const SweepBody = Type.Object({
  keep: Type.Array(Type.String()),
  from: Type.Number(),
  before: Type.Number(),
  prefix: Type.Optional(Type.String({ minLength: 1 })),
});

type WithPulls = ContainerRoutes & { readonly pulls: Pulls; readonly archives: Archives };

/** ms that the removal of a volume waits for containers that are leaving. */
const departure = 30_000;

const login = Type.Optional(Type.Object({ host: Type.String(), username: Type.String(), password: Type.String() }));
const patient = Type.Optional(Type.Literal(true));
const ResolveBody = Type.Object({ name: Type.String({ minLength: 1, maxLength: 1024 }), login, patient });
const PrepareBody = Type.Object({ workload: WorkloadSchema, fence: FenceSchema, login, patient });

export function containerRoutes(routes: ContainerRoutes): ServerDeps["more"] {
  const deps: WithPulls = { ...routes, pulls: new Pulls(routes.daemon), archives: new Archives(routes) };
  return (key, call) => {
    const [, , first = "", second = ""] = call.path;
    switch (key) {
      case "POST v1/prepare":
        return prepare(deps, call);
      case "GET v1/stacks":
        return Promise.resolve({ releases: [], ending: deps.instances.has(first) || deps.tasks.has(first) });
      case "DELETE v1/stacks":
        return forgetStack(deps, first);
      case "PUT v1/doors":
        return openDoor(deps, first, { stack: second, component: call.path[4] ?? "" });
      case "POST v1/images":
        return resolve(deps, call);
      // What older control planes ask.
      case "GET v1/images":
        return deps.daemon.image(first).then((image) => ({ there: image !== undefined }) satisfies ImageAnswer);
      case "POST v1/held-images":
        return held(deps, call);
      case "POST v1/image-sweeps":
        return sweep(deps, call);
      case "GET v1/volumes":
        return listVolumes(deps, first);
      case "GET v1/archives":
        return deps.archives.send(call, first, second);
      case "PUT v1/archives":
        return deps.archives.receive(call, { stackId: first, volume: second, stack: call.path[4] ?? "" });
      case "DELETE v1/volumes":
        return removeVolume(deps, first, second);
      default:
        return undefined;
    }
  };
}

/** Fetches the image and makes volumes and the network; `pending` while the image is on its way. */
async function prepare({ daemon, pulls, archives, networks, fences }: WithPulls, call: Call): Promise<object> {
  const body = await read(call, PrepareBody);
  const workload = body.workload as unknown as Workload;
  fences.pass(workload.ref, body.fence);
  const image = workload.artifact.kind === "image" ? await pulls.have(workload.artifact.reference, body) : "there";
  if (image !== "there") return image;
  if (workload.artifact.kind === "image") daemon.remember(workload.artifact.reference, body.login);
  const { installation } = daemon;
  // A program must not find half of what is being put there.
  if (workload.volumes.some(({ volume }) => archives.isFilling(workload.stackId, volume))) return { pending: true } satisfies Pending;
  for (const { volume } of workload.volumes)
    await daemon.createVolume(
      volumeName(installation, workload.stackId, volume),
      volumeLabels(installation, { stackId: workload.stackId, stack: workload.ref.stack, volume }),
    );
  await networks.open(workload.stackId, workload.ref.stack);
  return {};
}

async function resolve(deps: WithPulls, call: Call): Promise<ResolvedImage | Pending> {
  const body = await read(call, ResolveBody);
  return resolveImage(deps, body.name, body, leaving(call));
}

async function held({ daemon }: WithPulls, call: Call): Promise<ImageAnswer> {
  const body = await read(call, ResolveBody);
  return { there: await isHeld(daemon, body.name, body.login, leaving(call)) };
}

async function sweep({ daemon }: WithPulls, call: Call): Promise<SweepAnswer> {
  return { removed: await sweepImages(daemon, await read(call, SweepBody)) };
}

/** Fires when whoever asked is gone. */
function leaving({ response }: Call): AbortSignal {
  const left = new AbortController();
  response.once("close", () => left.abort(new Error("the caller left")));
  return left.signal;
}

async function openDoor({ doors }: ContainerRoutes, stackId: string, { stack, component }: Ref): Promise<DoorAnswer> {
  return { address: await doors.of(stackId, stack, component) };
}

async function forgetStack({ networks, doors }: ContainerRoutes, stackId: string): Promise<object> {
  await doors.forget(stackId);
  await networks.remove(stackId);
  return {};
}

async function listVolumes({ daemon, instances }: ContainerRoutes, stackId: string): Promise<VolumesAnswer> {
  const sizes = await daemon.volumeSizes(stackId);
  return { volumes: sizes.map(({ volume, bytes }) => ({ name: volume, bytes, usedBy: instances.volumeUsers(stackId, volume) })) };
}

async function removeVolume({ daemon, instances }: ContainerRoutes, stackId: string, volume: string): Promise<object> {
  for (const until = Date.now() + departure; ;) {
    const [component] = instances.volumeUsers(stackId, volume);
    if (component !== undefined) throw new BerthError("volume_in_use", { volume, component });
    try {
      await daemon.removeVolume(volumeName(daemon.installation, stackId, volume));
      return {};
    } catch (error) {
      // A container that has ended holds it until its last lines are read.
      if (!(error instanceof DockerError && error.status === 409 && instances.has(stackId)) || Date.now() > until) throw error;
      await sleep(50);
    }
  }
}
