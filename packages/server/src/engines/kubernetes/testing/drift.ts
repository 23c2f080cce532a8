// What an engine sees of a component that somebody changes with kubectl in a real cluster, whom it names, and that it takes nothing else back.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { kubectl } from "../../../../../../tools/cluster/kube.ts";
import type { KubeObject } from "../../../kubernetes/objects.ts";
import { never, until } from "../../conformance/lab.ts";
import type { Drift, Ref, TrackTarget } from "../../engine.ts";
import { mark, namespaceOf } from "../names.ts";
import type { Deployment } from "../objects.ts";
import type { KubernetesPlace } from "./place.ts";

interface Made extends KubeObject {
  readonly spec: { readonly containers: readonly { readonly image: string; readonly env?: readonly { readonly name: string }[] }[] };
}

/** `open`: a place whose engine works with the rights that it is to work with. */
export function changesByHand(open: () => Promise<KubernetesPlace>): void {
  let place: KubernetesPlace;
  let generation = 0;
  const ref: Ref = { stack: `by-hand-${randomBytes(3).toString("hex")}`, component: "web" };
  const namespace = namespaceOf(ref);
  const fence = () => ({ installation: place.installation, epoch: 1, generation: (generation += 1) });
  const slot = (): Promise<Deployment> => place.api.get<Deployment>({ kind: "Deployment", namespace, name: "web--a" });
  const byHand = (...args: string[]): Promise<string> => kubectl(["-n", namespace, ...args]);
  const drift = (): Promise<Drift> => place.engine.drift(ref, never);
  const pods = async (): Promise<Made[]> => {
    const { items } = await place.api.request<{ items: Made[] }>("GET", `/api/v1/namespaces/${namespace}/pods`, {
      query: { labelSelector: `${mark.component}=web` },
    });
    return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  };
  const seen = (what: string, holds: (now: Drift) => boolean): Promise<Drift> =>
    until(
      async () => {
        const now = await drift();
        return holds(now) && now;
      },
      what,
      120_000,
    ) as Promise<Drift>;
  const whole = () => seen("nothing is otherwise", ({ differences, turning }) => differences.length === 0 && !turning);
  const uids = async (): Promise<(string | undefined)[]> => (await pods()).map(({ metadata }) => metadata.uid).toSorted();
  const ready = (replicas: number) =>
    until(
      async () => {
        const all = (await place.engine.observe(ref, never))?.instances ?? [];
        return all.length === replicas && all.every((one) => one.ready);
      },
      `${String(replicas)} are ready`,
      120_000,
    );

  beforeAll(async () => {
    place = await open();
    const workload = await place.workload("run", {
      ref,
      env: { COLOUR: "blue", SHADE: "" },
      // The cluster writes this down as 1G.
      resources: { memory: 1_000_000_000 },
    });
    const target: TrackTarget = { ref, track: "stable", workload, restart: 0, replicas: 1 };
    await place.engine.prepare(workload, fence(), never);
    await place.engine.ensure(target, fence(), never);
    await place.engine.ensure({ ...target, replicas: 2 }, fence(), never);
    await ready(2);
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  it("finds nothing in what it put, however the cluster writes that down", async () => {
    expect((await slot()).spec.template.spec.containers[0]["resources"]).toMatchObject({ limits: { memory: "1G" } });
    // Its controller takes up the number of instances a moment after they are there.
    expect(await whole()).toEqual({ differences: [], turning: false });
  });

  it("says of an image what it was, what it is, and whose it is, and puts it back without losing the pods that ran", async () => {
    const before = await uids();
    const wanted = (await slot()).spec.template.spec.containers[0]["image"];
    await byHand("set", "image", "deployment/web--a", "web=localhost/nothing:1");
    const { differences } = await seen("the image is seen", (now) => now.differences.length > 0);
    expect(differences).toEqual([
      {
        object: "Deployment web--a",
        path: "spec.template.spec.containers[web].image",
        wanted,
        found: "localhost/nothing:1",
        by: "kubectl-set",
        at: expect.stringMatching(/^\d{4}-/) as string,
      },
    ]);
    await until(async () => (await drift()).turning, "the cluster begins to replace pods");
    await place.engine.repair(ref, fence(), never);
    await whole();
    await ready(2);
    expect(await uids()).toEqual(before);
  });

  it("sees a variable that was changed, added and taken away, a command, a label, and puts all back in one change", async () => {
    await byHand("set", "env", "deployment/web--a", "COLOUR=red", "MORE=1", "SHADE-");
    const patch = [
      { op: "replace", path: "/spec/template/spec/terminationGracePeriodSeconds", value: 25 },
      { op: "remove", path: "/metadata/labels/berth.release" },
    ];
    await byHand("patch", "deployment", "web--a", "--type", "json", "-p", JSON.stringify(patch));
    const { differences } = await seen("all of it is seen", (now) => now.differences.length >= 5);
    const found = Object.fromEntries(differences.map((one) => [one.path, [one.wanted, one.found, one.by]]));
    expect(found).toMatchObject({
      "spec.template.spec.containers[web].env[COLOUR].value": ["blue", "red", "kubectl-set"],
      "spec.template.spec.containers[web].env[MORE]": [undefined, '{"name":"MORE","value":"1"}', "kubectl-set"],
      "spec.template.spec.containers[web].env[SHADE]": ['{"name":"SHADE"}', undefined, undefined],
      "spec.template.spec.terminationGracePeriodSeconds": [expect.any(String) as string, "25", "kubectl-patch"],
      "metadata.labels.berth.release": [expect.any(String) as string, undefined, undefined],
    });
    const { generation: before = 0 } = (await slot()).metadata;
    await place.engine.repair(ref, fence(), never);
    await whole();
    const { metadata, spec } = await slot();
    expect(metadata.generation).toBe(before + 1);
    const names = spec.template.spec.containers[0].env?.map(({ name }) => name) ?? [];
    expect(names).toContain("COLOUR");
    expect(names).not.toContain("MORE");
    await ready(2);
  });

  it("leaves to others what is theirs: an annotation, a container of a mesh, the number of an autoscaler", async () => {
    const { generation: before = 0 } = (await slot()).metadata;
    await byHand("annotate", "deployment", "web--a", "mesh.example/inject=yes");
    await byHand("patch", "deployment", "web--a", "-p", JSON.stringify({ spec: { minReadySeconds: 1 } }));
    await until(async () => (await slot()).metadata.generation !== before, "it was changed");
    await byHand("autoscale", "deployment", "web--a", "--name", "mine", "--min", "3", "--max", "3");
    const now = await seen("the number is seen", ({ scaled }) => scaled !== undefined);
    expect(now).toMatchObject({ differences: [], scaled: { replicas: 3, others: true } });
    await byHand("delete", "horizontalpodautoscaler", "mine");
    // The controller of autoscalers may have a last word after its own is gone.
    const scaled = await until(async () => {
      await byHand("scale", "deployment", "web--a", "--replicas", "1");
      const then = await drift();
      return then.scaled?.replicas === 1 && then;
    }, "another number is seen");
    expect(scaled).toMatchObject({
      differences: [{ object: "Deployment web--a", path: "spec.replicas", wanted: "2", found: "1", by: "kubectl" }],
      scaled: { others: false },
    });
    await place.engine.repair(ref, fence(), never);
    const { metadata, spec } = await slot();
    expect({ more: metadata.annotations?.["mesh.example/inject"], ready: spec["minReadySeconds"] }).toEqual({ more: "yes", ready: 1 });
  });
}
