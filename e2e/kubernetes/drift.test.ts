// What somebody changes with kubectl of a stack in a cluster: taken back within seconds or shown, as the stack says, without a request lost, and told with who did it.
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { KubeObject } from "../../packages/server/src/kubernetes/objects.ts";
import { kubectl } from "../../tools/cluster/kube.ts";
import { startLoad, until, webApp } from "../harness.ts";
import { KubePlace, missingBeside } from "./place.ts";

const cluster = inject("cluster");
const missing = missingBeside(cluster);
const stack = "by-hand";
const params = { stack, component: "web" };

interface Deployment extends KubeObject {
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } } };
}

describe.skipIf(missing !== undefined)(`changes by hand in a cluster${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubePlace;

  beforeAll(async () => {
    place = await KubePlace.open(cluster);
    const added = await place.add("kube", "--domain", place.domain);
    expect(added, place.berth.log()).toMatchObject({ code: 0 });
    await place.berth.client.createStack({ body: { name: stack, cluster: "kube" } });
    expect((await place.berth.deployed(stack, webApp("one")))[0]).toMatchObject({ phase: "succeeded" });
    await place.berth.client.scaleComponent({ params, body: { replicas: 2 } });
    await place.settled(params, 2);
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
  });

  const byHand = (...args: string[]): Promise<string> => kubectl(["-n", `berth-${stack}`, ...args]);
  const cli = (...args: string[]) => place.berth.cli(["-s", stack, ...args]);
  const told = async (code: string) => (await place.berth.client.listEvents({ query: { stack, code } })).items;
  const shown = async () => (await place.berth.client.showDrift({ params: { stack }, query: {} })).differences;
  const image = async (): Promise<string | undefined> => {
    const namespace = `berth-${stack}`;
    const { spec } = await place.api.get<Deployment>({ kind: "Deployment", namespace, name: "web--a" });
    return spec.template.spec.containers[0]?.image;
  };
  const uids = (): Promise<(string | undefined)[]> => place.uids(stack);
  const healthy = (ready: number) => place.healthy(params, ready);
  const isSo = (what: string, holds: () => Promise<boolean>) =>
    until(
      async () => ((await holds()) ? true : undefined),
      what,
      120_000,
      () => place.berth.log(),
    );
  /** Whether it was told that something was taken back, and whose change it was. */
  const isTakenBack = (what: string, by: string) => async (): Promise<boolean> =>
    (await told("component_taken_back")).some(({ params: said }) => String(said["what"]).includes(what) && said["by"] === by);

  test("are taken back, and the pods that ran go on", async () => {
    const [before, ran] = [await image(), await uids()];
    await isSo("nothing is shown", async () => (await shown()).length === 0);
    expect(await cli("drift")).toMatchObject({ code: 0, said: expect.stringContaining("Nothing of stack by-hand was changed") as string });
    const load = startLoad(place, place.host("web", stack));
    await byHand("set", "image", "deployment/web--a", "web=localhost/nothing:1");
    const at = Date.now();
    await isSo("it is taken back", async () => (await image()) === before);
    expect(Date.now() - at).toBeLessThan(10_000);
    const what = "spec.template.spec.containers[web].image of Deployment web--a (localhost/nothing:1 instead of ";
    await isSo("it is told", isTakenBack(what, "kubectl-set"));
    const repaired = async () => (await place.berth.client.listAudit({ query: { action: "components.repair" } })).items;
    await isSo("it is written down", async () => (await repaired()).length > 0);
    expect((await repaired())[0]).toMatchObject({ principal: "berth", object: "component:by-hand/web" });
    await isSo("the pods are those that ran", async () => JSON.stringify(await uids()) === JSON.stringify(ran));
    await healthy(2);
    await byHand("scale", "deployment/web--a", "--replicas", "4");
    await isSo("it is told", isTakenBack("spec.replicas of Deployment web--a (4 instead of 2)", "kubectl"));
    await isSo("two are left", async () => (await uids()).length === 2);
    expect((await load.stop()).failed).toEqual([]);
    // Whoever does this takes users away from it, for as long as it takes.
    await byHand("patch", "service", "web", "--type", "json", "-p", '[{"op":"replace","path":"/spec/ports/0/port","value":81}]');
    await isSo("it is told", isTakenBack("of Service web (", "kubectl-patch"));
    await isSo("nothing is shown any more", async () => (await shown()).length === 0);
    await isSo("users are led to it", async () => (await place.get(place.host("web", stack))).status === 200);
    await healthy(2);
    expect(await told("component_repaired")).toEqual([]);
  });

  test("are left and shown where the stack says so, until it says otherwise", async () => {
    expect(await cli("stacks", "set", "--drift", "report")).toMatchObject({ code: 0 });
    const before = await image();
    await byHand("set", "env", "deployment/web--a", "COLOUR=red");
    await byHand("scale", "deployment/web--a", "--replicas", "3");
    await isSo("both are shown", async () => (await shown()).length === 2);
    await isSo("all three run", async () => (await uids()).length === 3);
    const { code, said } = await cli("drift");
    expect({ code, said }).toEqual({ code: 1, said: expect.stringMatching(/env\[COLOUR\][\s\S]*by kubectl-set/) as string });
    expect(said).toMatch(/Deployment web--a {2}spec\.replicas\n {2}- 2\n {2}\+ 3/);
    await isSo("it is told", async () => (await told("component_drifted")).length > 0);
    await isSo("status says so", async () => (await cli("status")).said.includes("2 field(s) of it were changed by hand"));
    await byHand("patch", "service", "web", "--type", "json", "-p", '[{"op":"replace","path":"/spec/ports/0/name","value":"other"}]');
    await isSo("the port is shown", async () => (await shown()).some(({ object }) => object === "Service web"));
    expect(await byHand("get", "service", "web", "-o", "jsonpath={.spec.ports[0].name}")).toBe("other");
    expect(await byHand("get", "deployment", "web--a", "-o", "jsonpath={.spec.replicas}")).toBe("3");
    await isSo("what was changed runs", async () => (await place.get(place.host("web", stack), "/env")).body.includes('"COLOUR":"red"'));

    expect(await cli("stacks", "set", "--drift", "repair")).toMatchObject({ code: 0 });
    await isSo("all is as wanted", async () => (await shown()).length === 0 && (await uids()).length === 2 && (await image()) === before);
    await healthy(2);
    await isSo("nothing is changed any more", async () => (await cli("drift")).code === 0);
    await isSo("the program is", async () => (await place.get(place.host("web", stack), "/env")).body.includes("COLOUR") === false);
  });
});
