// Whether a Kubernetes cluster can be used, before it is written down: its version, the Gateway API, a gateway that takes routes, and that this server reaches it.
import { connect } from "node:net";
import { renderCause } from "@berth/contract/causes.ts";
import type { Config } from "../../config.ts";
import { BerthError } from "../../core/errors.ts";
import type { KubeFacts, WantedKube } from "../../core/kube-clusters.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError, KubeProtocolError, KubeUnreachable } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import { isMarked } from "../../engines/kubernetes/fences.ts";
import { kubeApi } from "./access.ts";
import { applyBuilder, BuilderUnready } from "./builder-pod.ts";
import { addressIn, nameOf, troubleOf, type Gateway } from "./gateway.ts";

/** ms for an answer. */
const patience = 15_000;
/** The oldest minor version of 1.x; commands need what came with it (docs/decisions/0037-own-kubernetes-client.md). */
const oldest = 30;

type Refuse = (reason: string, hint: string, cause?: unknown) => BerthError;

/** As whoever has this access; see `factsOf`. `installation`: what has been at work there, or it is another cluster. */
export async function checkKube(
  wanted: WantedKube,
  config: Pick<Config, "kubernetesService" | "registry" | "buildctl" | "builds">,
  signal: AbortSignal,
  installation?: string,
): Promise<KubeFacts> {
  const api = kubeApi(wanted.access, config);
  if (api === undefined)
    throw refusing("in-cluster")(
      "this server is no pod of a cluster, or it was given no service account",
      "Give the cluster's kubeconfig: --kubeconfig FILE.",
    );
  try {
    const facts = await factsOf(api, wanted, signal);
    if (installation !== undefined && !(await isMarked(api, installation, signal)))
      throw refusing(api.name)(
        "it is another cluster: this Berth has never been at work there",
        "Give a kubeconfig of the same cluster, or add this one by a name of its own.",
      );
    if (facts.builder !== undefined) await checkBuilder(api, facts.builder, config, signal);
    return facts;
  } finally {
    await api.close();
  }
}

const refusing =
  (server: string): Refuse =>
  (reason, hint, cause) =>
    new BerthError("cluster_unusable", { server, reason, hint }, { cause });

/** What it says of itself. Errors: `cluster_unusable`. */
export async function factsOf(api: KubeApi, wanted: Omit<WantedKube, "access">, signal: AbortSignal): Promise<KubeFacts> {
  const refuse = refusing(api.name);
  try {
    await checkVersion(api, refuse, signal);
    const gateway = await chosenGateway(api, wanted.gateway, refuse, signal);
    const trouble = troubleOf(gateway);
    if (trouble !== undefined) throw refuse(trouble, "See what its controller says: `kubectl describe gateway`.");
    const address = wanted.address ?? addressIn(gateway);
    if (address === undefined)
      throw refuse(
        `gateway ${nameOf(gateway)} does not say where it takes requests`,
        "Say it: --address HOST:PORT, where users reach it by HTTP.",
      );
    await answersAt(address, refuse, signal);
    const { namespace = "", name } = gateway.metadata;
    const { context, builder } = wanted;
    return { server: api.name, context, gateway: { namespace, name }, address, ...(builder === undefined ? {} : { builder }) };
  } catch (error) {
    if (error instanceof KubeUnreachable || error instanceof KubeProtocolError)
      throw refuse(error.message, "See that this machine reaches it, and that the kubeconfig is its newest.", error);
    if (error instanceof KubeError) throw refuse(error.message, "`berth clusters rbac` prints the rights that Berth needs there.", error);
    throw error;
  }
}

/** Whether it could be made and used; nothing is made but its namespace. */
async function checkBuilder(
  api: KubeApi,
  builder: NonNullable<KubeFacts["builder"]>,
  { registry, buildctl, builds }: Pick<Config, "registry" | "buildctl" | "builds">,
  signal: AbortSignal,
): Promise<void> {
  const refuse = refusing(api.name);
  if (registry === undefined)
    throw refuse(
      "its builder would have no registry to push to",
      "Name one that this server and the cluster's nodes reach: BERTH_REGISTRY.",
    );
  if (buildctl === undefined)
    throw refuse(
      "this server has no buildctl, by which it would speak to the cluster's builder",
      "Install BuildKit's client, 0.24 or newer, and name it by its whole path in BERTH_BUILDCTL.",
    );
  try {
    await applyBuilder(api, { installation: "check", builder, memory: builds.memory, plainHttp: [] }, signal, { dryRun: true });
  } catch (error) {
    const hint = "`berth clusters rbac --builder` prints the rights that a builder takes.";
    if (error instanceof BuilderUnready) throw refuse(renderCause(error.why).sentence.replace(/\.$/, ""), hint, error);
    if (error instanceof KubeError || error instanceof KubeUnreachable || error instanceof KubeProtocolError)
      throw refuse(error.message, hint, error);
    throw error;
  }
}

async function checkVersion(api: KubeApi, refuse: Refuse, signal: AbortSignal): Promise<void> {
  const { major = "", minor = "" } = await api.request<{ major?: string; minor?: string }>("GET", "/version", {
    signal,
    timeout: patience,
  });
  // Some vendors write `30+`.
  if (major === "1" && Number.parseInt(minor, 10) < oldest)
    throw refuse(`it runs Kubernetes 1.${minor}`, `Berth needs 1.${String(oldest)} or newer.`);
}

async function chosenGateway(api: KubeApi, chosen: WantedKube["gateway"], refuse: Refuse, signal: AbortSignal): Promise<Gateway> {
  if (chosen !== undefined) {
    const found = await api.find<Gateway>({ kind: "Gateway", ...chosen }, { signal, timeout: patience });
    if (found === undefined)
      throw refuse(`it has no gateway ${chosen.namespace}/${chosen.name}`, "`kubectl get gateways -A` shows those that there are.");
    return found;
  }
  const all = await listed<Gateway>(api, "Gateway", { signal }).catch((error: unknown) => {
    if (error instanceof KubeError && error.status === 404)
      throw refuse(
        "it has no Gateway API",
        "Install a gateway controller, such as Traefik, Envoy Gateway or Cilium, and make a Gateway.",
        error,
      );
    throw error;
  });
  const [only, ...others] = all;
  if (only === undefined)
    throw refuse("it has no Gateway", "Make one that takes routes of all namespaces, and name it: --gateway NAMESPACE/NAME.");
  if (others.length > 0)
    throw refuse(
      `it has ${String(all.length)} gateways: ${all.slice(0, 5).map(nameOf).join(", ")}`,
      "Choose one: --gateway NAMESPACE/NAME.",
    );
  return only;
}

/** Releases are proved by requests through the gateway: where this server does not reach it, none would ever be. */
async function answersAt({ host, port }: KubeFacts["address"], refuse: Refuse, signal: AbortSignal): Promise<void> {
  const socket = connect({ host, port, signal: AbortSignal.any([signal, AbortSignal.timeout(patience)]) });
  const opened = Promise.withResolvers<void>();
  socket.once("connect", opened.resolve).once("error", opened.reject);
  try {
    await opened.promise;
  } catch (error) {
    signal.throwIfAborted();
    throw refuse(
      `nothing answers at ${host}:${String(port)}, where its gateway should take requests (${error instanceof Error ? error.message : String(error)})`,
      "Say where this server and users reach it: --address HOST:PORT.",
      error,
    );
  } finally {
    socket.destroy();
  }
}
