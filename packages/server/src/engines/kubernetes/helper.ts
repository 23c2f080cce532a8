// A pod that reads or fills a volume for Berth: one program that waits, and commands beside it. It lives as long as somebody holds its input: a server that dies takes it along.
import { setTimeout as sleep } from "node:timers/promises";
import { text } from "node:stream/consumers";
import { BerthError } from "../../core/errors.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring, KubeError } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { exec, holdInput, type Exec, type HeldInput } from "../../kubernetes/streams.ts";
import { mark, selector } from "./names.ts";
import type { Pod } from "./objects.ts";

export interface HelperOrder {
  readonly installation: string;
  readonly namespace: string;
  readonly name: string;
  readonly claim: string;
  readonly does: "snapshot" | "restore";
  readonly image: string;
  /** Where the volume is in use: a volume that only one node may have is nowhere else. */
  readonly node: string | undefined;
}

/** Where the volume's own folder is in it. */
export const volumeFolder = "/volume";
const container = "archive";
/** Seconds after which the cluster ends it whatever it does: an archive that takes longer is none that anybody waits for. */
const longest = 24 * 3_600;
/** ms for it to be placed, to get its volume and its image. */
const patience = 300_000;
/** ms that "no node takes it" is hoped to be over. */
const placing = 30_000;
/** ms for a new namespace to get the account of its pods. */
const accountPatience = 10_000;
const cleaning = 10_000;

/** Root without rights but those that owners and modes of files ask for: all of them are allowed at the level `baseline`. https://kubernetes.io/docs/concepts/security/pod-security-standards/ */
const rights = { snapshot: ["DAC_OVERRIDE"], restore: ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"] } as const;

export function helperPod({
  installation,
  namespace,
  name,
  claim,
  does,
  image,
  node,
}: HelperOrder): KubeObject & { readonly spec: object } {
  const labels = { "app.kubernetes.io/managed-by": "berth", [mark.installation]: installation, [mark.archive]: does };
  return {
    apiVersion: apiVersionOf("Pod"),
    kind: "Pod",
    metadata: { namespace, name, labels },
    spec: {
      restartPolicy: "Never",
      activeDeadlineSeconds: longest,
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsUser: 0, runAsGroup: 0, seccompProfile: { type: "RuntimeDefault" } },
      ...(node === undefined ? {} : onNode(node)),
      containers: [
        {
          name: container,
          image,
          // Ends with its input.
          command: ["cat"],
          stdin: true,
          stdinOnce: true,
          // Of an image's own variables, TAR_OPTIONS would change what is done.
          env: [
            { name: "PATH", value: "/usr/sbin:/usr/bin:/sbin:/bin" },
            { name: "LC_ALL", value: "C" },
            { name: "TAR_OPTIONS", value: "" },
          ],
          workingDir: "/",
          resources: { requests: { cpu: "50m", memory: "64Mi" }, limits: { cpu: "1", memory: "256Mi" } },
          volumeMounts: [{ name: "volume", mountPath: volumeFolder, ...(does === "snapshot" ? { readOnly: true } : {}) }],
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"], add: [...rights[does]] },
          },
        },
      ],
      volumes: [{ name: "volume", persistentVolumeClaim: { claimName: claim } }],
    },
  };
}

/** By the scheduler, so that the node's room is counted; also onto one that takes no others any more, since its volume is there. */
const onNode = (node: string): object => ({
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchFields: [{ key: "metadata.name", operator: "In", values: [node] }] }],
      },
    },
  },
  tolerations: [{ operator: "Exists" }],
});

export class Helper implements AsyncDisposable {
  readonly #api: KubeApi;
  readonly #order: HelperOrder;
  readonly #uid: string;
  readonly #held: HeldInput;

  private constructor(api: KubeApi, order: HelperOrder, uid: string, held: HeldInput) {
    this.#api = api;
    this.#order = order;
    this.#uid = uid;
    this.#held = held;
  }

  /**
   * One that runs and has GNU tar; whoever asked disposes of it. Errors: `wrong_state` when it does not start, has no GNU tar, or one of its name is at work; KubeError, KubeUnreachable,
   * the signal's reason.
   */
  static async start(api: KubeApi, order: HelperOrder, signal: AbortSignal): Promise<Helper> {
    await sweep(api, order, signal);
    const uid = await create(api, order, signal);
    try {
      await running(api, order, signal);
      // Its end is the pod's, and is not this call's.
      const held = await holdInput(api, { namespace: order.namespace, pod: order.name }, new AbortController().signal);
      const helper = new Helper(api, order, uid, held);
      try {
        await helper.#checkTar(signal);
        return helper;
      } catch (error) {
        held.close();
        throw error;
      }
    } catch (error) {
      await remove(api, order, uid);
      throw error;
    }
  }

  /** Errors: of `exec`. */
  exec(command: readonly string[], signal: AbortSignal, { stdin = false }: { readonly stdin?: boolean } = {}): Promise<Exec> {
    const { namespace, name: pod } = this.#order;
    return exec(this.#api, { namespace, pod, container, command, stdin }, signal);
  }

  /** A short command to its end. Errors: of `exec`. */
  async run(
    command: readonly string[],
    signal: AbortSignal,
  ): Promise<{ readonly exitCode: number; readonly out: string; readonly said: string }> {
    const running = await this.exec(command, signal);
    const [out, said, { exitCode }] = await Promise.all([
      text(running.stdout),
      running.stderr === undefined ? "" : text(running.stderr),
      running.exit,
    ]);
    return { exitCode, out, said };
  }

  /** When this fails, the cluster ends it by itself: its input is let go of. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#held.close();
    await remove(this.#api, this.#order, this.#uid);
  }

  async #checkTar(signal: AbortSignal): Promise<void> {
    const { image } = this.#order;
    const { out } = await this.run(["tar", "--version"], signal).catch((error: unknown) => {
      if (error instanceof KubeError) return { out: "" };
      throw error;
    });
    if (!out.includes("GNU tar")) throw unable(`the image ${image} has no GNU tar`);
  }
}

/** Pods of servers that died have ended; what has ended is not needed. */
async function sweep(api: KubeApi, { installation, namespace }: HelperOrder, signal: AbortSignal): Promise<void> {
  const labels = selector({ [mark.installation]: installation, [mark.archive]: undefined });
  for (const { metadata, status } of await listed<Pod>(api, "Pod", { namespace, labels, signal }))
    if (status?.phase === "Succeeded" || status?.phase === "Failed")
      await api.delete({ kind: "Pod", namespace, name: metadata.name }, { uid: metadata.uid, signal }).catch(ignoring(409));
}

/** Its uid. */
async function create(api: KubeApi, order: HelperOrder, signal: AbortSignal): Promise<string> {
  for (const began = performance.now(); ; await sleep(200, undefined, { signal })) {
    try {
      const { metadata } = await api.create<KubeObject>(helperPod(order), { signal });
      return metadata.uid ?? "";
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      const waited = performance.now() - began;
      // One that broke off is still being cleaned up after.
      if (error.reason === "AlreadyExists") {
        if (waited > cleaning)
          throw new BerthError("wrong_state", {
            verb: "Restoring",
            reason: `content is being put into volume ${order.claim} already`,
            hint: "Wait until that has ended.",
          });
      } else if (!/service account|serviceaccount/i.test(error.message) || waited > accountPatience) {
        if (/violates PodSecurity/.test(error.message))
          throw unable(`the cluster takes no pod that reads files of every owner: ${error.message}`);
        throw error;
      }
    }
  }
}

/** Until it runs. Errors: `wrong_state` when it does not. */
async function running(api: KubeApi, { namespace, name }: HelperOrder, signal: AbortSignal): Promise<void> {
  const began = performance.now();
  for (let why = ""; ; await sleep(200, undefined, { signal })) {
    const pod = await api.find<Pod>({ kind: "Pod", namespace, name }, { signal });
    if (pod === undefined) throw unable("the pod for it was removed by somebody else");
    const { phase, containerStatuses, conditions } = pod.status ?? {};
    if (phase === "Running") return;
    const { waiting, terminated } = containerStatuses?.[0]?.state ?? {};
    const scheduled = conditions?.find(({ type }) => type === "PodScheduled");
    why = wordsOf(terminated ?? waiting) || (scheduled?.status === "False" ? (scheduled.message ?? "") : why);
    const waited = performance.now() - began;
    if (
      phase === "Succeeded" ||
      phase === "Failed" ||
      hopeless.has(waiting?.reason ?? "") ||
      (scheduled?.status === "False" && waited > placing) ||
      waited > patience
    )
      throw unable(`the pod for it does not start: ${why.slice(0, 500) || "the cluster does not say why"}`);
  }
}

/** What a kubelet has given up at least once. */
export const hopeless: ReadonlySet<string> = new Set([
  "ImagePullBackOff",
  "InvalidImageName",
  "ErrImageNeverPull",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
]);

export const wordsOf = (state: { readonly reason?: string; readonly message?: string } | undefined): string =>
  [state?.reason, state?.message].filter((word) => word !== undefined && word !== "").join(": ");

async function remove(api: KubeApi, { namespace, name }: HelperOrder, uid: string): Promise<void> {
  // Whoever asked has his own failure to hear of; what stays here ends by itself.
  await api.delete({ kind: "Pod", namespace, name }, { uid, signal: AbortSignal.timeout(cleaning) }).catch(() => undefined);
}

/** Why a volume is out of reach, and what to do about it. */
export const unable = (reason: string): BerthError =>
  new BerthError("wrong_state", {
    verb: "Archiving or restoring a volume",
    reason: reason.replace(/\.$/, ""),
    hint: "It takes a pod with GNU tar: name an image that has it, and that the cluster's nodes can fetch, as the operating system's base image (docs/guide/volumes.md).",
  });
