// What surrounds the components of a stack, object by object as the cluster has it: the level of security, who may connect, and how many instances may be taken away at once.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import { never, until } from "../conformance/lab.ts";
import type { Ref, TrackTarget, Workload } from "../engine.ts";
import { mark, namespaceOf } from "./names.ts";
import { levelKey } from "./surroundings.ts";
import { KubernetesPlace, nobodyImage } from "./testing/place.ts";

const { missing, kubeconfig } = inject("cluster");

describe.skipIf(missing !== undefined)(`around a stack on Kubernetes${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubernetesPlace;
  let generation = 0;
  const ref: Ref = { stack: `around-${randomBytes(3).toString("hex")}`, component: "web" };
  const namespace = namespaceOf(ref);
  const fence = () => ({ installation: "lab", epoch: 1, generation: (generation += 1) });
  const find = (kind: "NetworkPolicy" | "PodDisruptionBudget", name: string): Promise<KubeObject | undefined> =>
    place.api.find({ kind, namespace, name });
  const level = async (): Promise<string | undefined> =>
    (await place.api.get({ kind: "Namespace", name: namespace })).metadata.labels?.[levelKey];
  const prepared = async (over: Partial<Workload> = {}): Promise<Workload> => {
    const workload = await place.workload("run", { ref, ...over });
    await place.engine.prepare(workload, fence(), never);
    return workload;
  };

  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
    place = await KubernetesPlace.open(readFileSync(kubeconfig, "utf8"));
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  it("gives the namespace a level, raises it for what needs more, and leaves it to whoever else sets it", async () => {
    await prepared();
    expect(await level()).toBe("baseline");
    await prepared({ securityProfile: "privileged" });
    expect(await level()).toBe("privileged");
    await prepared();
    expect(await level()).toBe("privileged");
    await place.restrict(namespace);
    await prepared();
    expect(await level()).toBe("restricted");
  });

  it("lets other stacks open no connections, and sets that again when it was changed", async () => {
    await prepared();
    const wanted = {
      metadata: { labels: { [mark.installation]: place.installation, [mark.stack]: ref.stack } },
      spec: {
        podSelector: {},
        policyTypes: ["Ingress"],
        ingress: [
          { from: [{ podSelector: {} }, { namespaceSelector: { matchExpressions: [{ key: mark.stack, operator: "DoesNotExist" }] } }] },
        ],
      },
    };
    expect(await find("NetworkPolicy", "berth-stack")).toMatchObject(wanted);
    await place.api.merge({ kind: "NetworkPolicy", namespace, name: "berth-stack" }, { spec: { ingress: [{}] } });
    await prepared();
    expect(await find("NetworkPolicy", "berth-stack")).toMatchObject(wanted);
  });

  it("has a budget for a component as long as it has several instances", async () => {
    const target = async (replicas: number): Promise<TrackTarget> => ({
      ref,
      track: "stable",
      workload: await prepared(),
      restart: 0,
      replicas,
    });
    const ready = (count: number) =>
      until(
        async () => {
          const all = (await place.engine.observe(ref, never))?.instances ?? [];
          return all.length === count && all.every((one) => one.ready) && all;
        },
        `${String(count)} are ready`,
      );
    await place.engine.ensure(await target(1), fence(), never);
    expect(await find("PodDisruptionBudget", "web")).toBeUndefined();
    await place.engine.ensure(await target(2), fence(), never);
    const [first] = await ready(2);
    expect(await find("PodDisruptionBudget", "web")).toMatchObject({ spec: { maxUnavailable: 1 } });
    await until(async () => {
      const { status } = ((await find("PodDisruptionBudget", "web")) ?? {}) as {
        status?: { expectedPods?: number; disruptionsAllowed?: number };
      };
      return status?.expectedPods === 2 && status.disruptionsAllowed === 1;
    }, "the cluster counts both, and lets one go");
    await place.engine.stop(ref, [first?.id ?? ""], 0, fence(), never);
    expect(await find("PodDisruptionBudget", "web")).toBeUndefined();
    await place.engine.ensure(await target(2), fence(), never);
    expect(await find("PodDisruptionBudget", "web")).toBeDefined();
    await place.engine.remove(ref, fence(), never);
    expect(await find("PodDisruptionBudget", "web")).toBeUndefined();
  });
});
