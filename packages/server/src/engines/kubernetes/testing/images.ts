// Tests of images that nodes fetch: names are pinned by what their registry says, and a registry that asks who comes lets a stack's pods in.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeNobodyImage, pushTo, type TestImage } from "../../../../../../tools/cluster/images.ts";
import type { FindLogin } from "../../../core/image/reference.ts";
import type { RegistryAsker } from "../../../docker/standing.ts";
import { startRegistry, type TestRegistry } from "../../../docker/testing/registry.ts";
import { never, until } from "../../conformance/lab.ts";
import type { Instance, Ref } from "../../engine.ts";
import { namespaceOf } from "../names.ts";
import type { KubernetesPlace } from "./place.ts";

/** For one `describe`. */
export function imagesOfRegistries(open: (registries: RegistryAsker) => Promise<KubernetesPlace>): void {
  let registry: TestRegistry;
  let image: TestImage;
  let place: KubernetesPlace;
  /** Whether Berth has the registry's password, and can read it. */
  let known: "yes" | "no" | "unreadable" = "yes";
  let generation = 0;
  const fence = () => ({ installation: "lab", epoch: 1, generation: (generation += 1) });
  const newRef = (): Ref => ({ stack: `images-${randomBytes(3).toString("hex")}`, component: "web" });
  const find: FindLogin = (host) =>
    Promise.resolve(
      host === registry.host && known !== "no" ? { ...registry.login, plainHttp: true, readable: known === "yes" } : undefined,
    );

  beforeAll(async () => {
    registry = await startRegistry();
    image = await makeNobodyImage();
    const { username, password } = registry.login;
    await pushTo(registry.host, "team/web", "1", image, `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`);
    place = await open({ find, proxies: {} });
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const run = async (reference: string): Promise<Ref> => {
    const workload = await place.workload("run", { ref: newRef(), artifact: { kind: "image", reference } });
    await place.engine.prepare(workload, fence(), never);
    await place.engine.ensure({ ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1 }, fence(), never);
    return workload.ref;
  };
  const instance = async (ref: Ref): Promise<Instance | undefined> => (await place.engine.observe(ref, never))?.instances[0];

  it("pins a name by what its registry says now, and knows what that has no more", async () => {
    const name = `${registry.host}/team/web`;
    const pinned = await place.engine.resolveImage(`${name}:1`, never);
    expect(pinned).toEqual({ reference: `${name}@${image.digest}`, digest: image.digest, size: 0 });
    // What is pinned is asked no more.
    const asked = registry.requests.length;
    expect(await place.engine.resolveImage(pinned.reference, never)).toEqual(pinned);
    expect(registry.requests.length).toBe(asked);
    expect(await place.engine.holdsImage(pinned.reference, never)).toBe(true);
    expect(await place.engine.holdsImage(`${name}@sha256:${"0".repeat(64)}`, never)).toBe(false);
    await expect(place.engine.resolveImage(`${name}:none`, never)).rejects.toMatchObject({
      failure: { code: "image_not_found" },
      retryable: false,
    });
    await expect(place.engine.resolveImage("127.0.0.1:9/some/thing:1", never)).rejects.toMatchObject({
      failure: { code: "registry_unanswered" },
      retryable: true,
    });
  });

  it("lets the pods of a stack fetch with the password that is kept for the registry, and shows it in nothing that is read", async () => {
    const ref = await run(`${registry.host}/team/web@${image.digest}`);
    await until(async () => (await instance(ref))?.ready, "it runs");
    const pods = await place.api.request<object>("GET", `/api/v1/namespaces/${namespaceOf(ref)}/pods`);
    expect(JSON.stringify(pods)).toMatch(/"imagePullSecrets":\[\{"name":"berth-registry-/);
    expect(JSON.stringify(pods)).not.toContain(registry.login.password);
  });

  it("tells who is not let in, and whose password cannot be read", async () => {
    known = "no";
    const reference = `${registry.host}/team/web@${image.digest}`;
    const ref = await run(reference);
    const why = await until(async () => {
      const { cause } = (await instance(ref)) ?? {};
      return cause?.code === "image_denied" && cause;
    }, "it says why");
    expect(why).toMatchObject({ params: { image: reference } });
    known = "unreadable";
    const workload = await place.workload("run", { ref: newRef(), artifact: { kind: "image", reference } });
    await expect(place.engine.prepare(workload, fence(), never)).rejects.toMatchObject({
      failure: { code: "registry_unreadable" },
      retryable: false,
    });
  });
}
