// Volumes as archives where something goes wrong: no tar, no image, no rights, a pod or a server that dies in the middle, a reader that is slow. No pod stays, and nothing short is taken for whole.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import tar from "tar-stream";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { loadImage, makeNobodyImage, shellImage } from "../../../../../tools/cluster/images.ts";
import { makeTarImage } from "../../../../../tools/cluster/tar-image.ts";
import { listed } from "../../kubernetes/list.ts";
import { never, until } from "../conformance/lab.ts";
import type { VolumeRef } from "../engine.ts";
import { KubernetesEngine } from "./engine.ts";
import { mark, namespaceOf, selector } from "./names.ts";
import type { Pod } from "./objects.ts";
import { KubernetesPlace, nobody, nobodyImage, tarImage } from "./testing/place.ts";

const { missing, kubeconfig } = inject("cluster");
const megabyte = 1024 * 1024;

describe.skipIf(missing !== undefined)(`archives on Kubernetes${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubernetesPlace;
  let stacks = 0;
  let generation = 0;
  const unique = randomBytes(3).toString("hex");
  const fence = () => ({ installation: "lab", epoch: 1, generation: (generation += 1) });
  const volume = (): VolumeRef => {
    const number = String((stacks += 1));
    return { stack: `stack-${unique}-${number}`, stackName: `archives-${unique}-${number}`, name: "data" };
  };

  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
    await loadImage(tarImage, await makeTarImage());
    place = await KubernetesPlace.open(readFileSync(kubeconfig, "utf8"));
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  /** Random, so that nothing on the way can make it shorter; made while it is read. */
  function archiveOf(size: number): Readable {
    const pack = tar.pack();
    const piece = randomBytes(megabyte);
    const entry = pack.entry({ name: "./big", size });
    const write = async (): Promise<void> => {
      for (let left = size; left > 0; left -= piece.length) if (!entry.write(piece)) await once(entry, "drain");
      entry.end(Buffer.alloc(0));
      pack.finalize();
    };
    // Whoever destroys it has no more use for it.
    write().catch(() => undefined);
    return Readable.from(pack, { objectMode: false });
  }
  const allPods = (): Promise<Pod[]> =>
    listed<Pod>(place.api, "Pod", { labels: selector({ [mark.installation]: place.installation, [mark.archive]: undefined }) });
  /** That of an archive before may still be on its way out. */
  const pods = async (): Promise<Pod[]> => (await allPods()).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const noPods = () => until(async () => (await allPods()).length === 0, "no pod stays", 120_000);
  const withImage = (archiveImage: string): KubernetesEngine =>
    new KubernetesEngine({ api: place.api, cluster: "test", installation: place.installation, registries: nobody, archiveImage });

  it("says what is missing where the image has no GNU tar or cannot be fetched, and leaves nothing", async () => {
    const one = volume();
    const cases = [
      [shellImage, /the image localhost\/berth-shell:1 has no GNU tar/],
      ["127.0.0.1:9/some/thing:1", /does not start: (?:ImagePullBackOff|ErrImagePull)/],
    ] as const;
    for (const [image, reason] of cases) {
      await using engine = withImage(image);
      const restored = engine.volumes.restore(one, archiveOf(megabyte), never);
      await expect(restored).rejects.toMatchObject({
        code: "wrong_state",
        params: { reason: expect.stringMatching(reason) as string, hint: expect.stringMatching(/GNU tar/) as string },
      });
      expect(await engine.volumes.list(one.stack, never)).toEqual([]);
      await noPods();
    }
  });

  it("says who does not let it read files of every owner", async () => {
    const one = volume();
    await place.engine.volumes.restore(one, archiveOf(megabyte), never);
    await place.restrict(namespaceOf({ stack: one.stackName }));
    await expect(place.engine.volumes.snapshot(one.stack, one.name, never)).rejects.toMatchObject({
      code: "wrong_state",
      params: { reason: expect.stringMatching(/violates PodSecurity "restricted/) as string },
    });
  });

  it("takes large ones out and puts them in without holding them, as fast as they are read", async () => {
    const [one, other] = [volume(), volume()];
    const size = 128 * megabyte;
    const before = process.memoryUsage().rss;
    let most = 0;
    const meter = setInterval(() => (most = Math.max(most, process.memoryUsage().rss - before)), 20);
    await place.engine.volumes.restore(one, archiveOf(size), never);
    const slow = await place.engine.volumes.snapshot(one.stack, one.name, never);
    await once(slow, "readable");
    await sleep(1_500);
    expect(slow.readableLength).toBeLessThan(4 * megabyte);
    let length = 0;
    for await (const chunk of slow) length += (chunk as Buffer).length;
    clearInterval(meter);
    expect(length).toBeGreaterThan(size);
    expect(length).toBeLessThan(size + 64 * 1024);
    expect(most).toBeLessThan(80 * megabyte);
    await noPods();
    // Straight into another one.
    await place.engine.volumes.restore(other, await place.engine.volumes.snapshot(one.stack, one.name, never), never);
    expect((await buffer(await place.engine.volumes.snapshot(other.stack, other.name, never))).length).toBe(length);
    await noPods();
  });

  it("ends what is not read any more, and is an error when its pod dies: never a short archive", async () => {
    const one = volume();
    await place.engine.volumes.restore(one, archiveOf(48 * megabyte), never);
    const left = await place.engine.volumes.snapshot(one.stack, one.name, never);
    await once(left, "readable");
    expect(await pods()).toHaveLength(1);
    left.destroy();
    await noPods();
    const broken = await place.engine.volumes.snapshot(one.stack, one.name, never);
    await once(broken, "readable");
    const [{ metadata } = { metadata: { name: "" } }] = await pods();
    await place.api.delete({ kind: "Pod", namespace: namespaceOf({ stack: one.stackName }), name: metadata.name }, { grace: 1 });
    // Meanwhile nobody reads: most of it is still to come when the pod has ended.
    await noPods();
    const whole = await buffer(broken).then(({ length }) => length, String);
    expect(whole).toMatch(/could not be read|broke off|closed the connection|cluster_unreachable/);
    const gone = new AbortController();
    const other = volume();
    const source = archiveOf(128 * megabyte);
    const restoring = place.engine.volumes.restore(other, source, gone.signal);
    await until(() => Promise.resolve(source.readableDidRead), "it is being filled", 120_000);
    gone.abort(new Error("the caller left"));
    await expect(restoring).rejects.toThrow("the caller left");
    expect(await place.engine.volumes.list(other.stack, never)).toEqual([]);
    await noPods();
  });

  it("reads a volume where it is in use, as root with no more rights than that needs", async () => {
    const { stack: stackId, stackName: stack } = volume();
    const volumes = [{ volume: "data", path: "/data" }];
    const command = { shell: "umask 077; echo kept | tee /data/own; exec sleep 300" };
    const workload = await place.workload("run", { ref: { stack, component: "web" }, stackId, volumes, command });
    await place.engine.prepare(workload, fence(), never);
    await place.engine.ensure({ ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1 }, fence(), never);
    await until(async () => (await place.engine.observe(workload.ref, never))?.instances[0]?.ready, "it runs");
    const archive = await place.engine.volumes.snapshot(stackId, "data", never);
    const [pod] = await pods();
    const names: string[] = [];
    const parser = tar.extract();
    archive.pipe(parser);
    for await (const entry of parser) {
      names.push(`${entry.header.name} ${String(entry.header.uid)}`);
      entry.resume();
    }
    expect(names).toContain("./own 65534");
    expect(pod?.spec).toMatchObject({
      nodeName: "node1",
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchFields: [{ key: "metadata.name", operator: "In", values: ["node1"] }] }],
          },
        },
      },
      activeDeadlineSeconds: 86_400,
      automountServiceAccountToken: false,
      containers: [
        {
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"], add: ["DAC_OVERRIDE"] } },
          volumeMounts: [{ readOnly: true }],
        },
      ],
    });
  });

  it("ends the pod of a server that was killed, and takes it away at the next archive", async () => {
    const one = volume();
    await place.engine.volumes.restore(one, archiveOf(megabyte), never);
    const namespace = namespaceOf({ stack: one.stackName });
    const order = {
      installation: place.installation,
      namespace,
      name: "berth-snapshot-orphan",
      claim: one.name,
      does: "snapshot",
      image: tarImage,
    };
    const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
    const code = `
      import { readFileSync } from "node:fs";
      const { readKubeconfig } = await import(${url("../../core/kubeconfig.ts")});
      const { KubeApi } = await import(${url("../../kubernetes/api.ts")});
      const { Helper } = await import(${url("./helper.ts")});
      const api = new KubeApi(readKubeconfig(readFileSync(${JSON.stringify(kubeconfig)}, "utf8")).config.access);
      const helper = await Helper.start(api, ${JSON.stringify(order)}, new AbortController().signal);
      console.log("started");
      await helper.run(["sleep", "600"], new AbortController().signal);`;
    const server = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
    await once(server.stdout, "data");
    expect((await pods()).map(({ status }) => status?.phase)).toEqual(["Running"]);
    server.kill("SIGKILL");
    await until(async () => (await pods())[0]?.status?.phase === "Succeeded", "it ends by itself");
    await buffer(await place.engine.volumes.snapshot(one.stack, one.name, never));
    await noPods();
  });
});
