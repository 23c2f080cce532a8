// Instances on a Swarm of two nodes: spread, reached at addresses that stay, moved when a node is drained, and found again by an agent that knows nothing.
import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianMissing, debianTar } from "../../../builders/testing/debian.ts";
import { dockerdMissing } from "../../../docker/testing/daemon.ts";
import { registryMissing, startRegistry, type TestRegistry } from "../../../docker/testing/registry.ts";
import type { TestSwarm } from "../../../docker/testing/swarm.ts";
import { DockerError } from "../../../docker/errors.ts";
import { authHeader } from "../../../docker/registry-auth.ts";
import { readNdjson } from "../../../docker/ndjson.ts";
import type { Instance, Workload } from "../../../engines/engine.ts";
import { never } from "../../testing/engine-lab.ts";
import { until, type ContainersLab } from "../testing/lab.ts";
import { openSwarmLab } from "../testing/swarm-lab.ts";
import type { Service, SwarmTask } from "./observed.ts";

const run = promisify(execFile);
const missing = dockerdMissing() ?? debianMissing() ?? registryMissing();

describe.skipIf(missing !== undefined)(`a swarm of two nodes${missing === undefined ? "" : ` (${missing})`}`, () => {
  let lab: ContainersLab;
  let swarm: TestSwarm;
  let registry: TestRegistry;
  /** By its digest, as every node gets it from the registry. */
  let image: string;

  beforeAll(async () => {
    await debianTar();
    ({ lab, swarm } = await openSwarmLab(2));
    registry = await startRegistry({ address: swarm.outside });
    lab.logins.set(registry.host, { ...registry.login, plainHttp: true, readable: true });
    const name = `${registry.host}/debian`;
    await lab.api.json("POST", `/images/${lab.image}/tag`, { query: { repo: name, tag: "1" } });
    const pushed = await lab.api.stream("POST", `/images/${name}/push`, {
      query: { tag: "1" },
      headers: authHeader(registry.login),
      timeout: Infinity,
    });
    for await (const line of readNdjson<{ readonly aux?: { readonly Digest?: string }; readonly error?: string }>(pushed)) {
      if (line.error !== undefined) throw new Error(line.error);
      if (line.aux?.Digest !== undefined) image = `${name}@${line.aux.Digest}`;
    }
  }, 600_000);

  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const web = (over: Partial<Workload> = {}): Workload =>
    lab.workload({ artifact: { kind: "image", reference: image }, ports: [{ name: "http", protocol: "http" }], ...over });
  const ready = (count: number, ref = { stack: "shop", component: "web" }): Promise<readonly Instance[]> =>
    until(
      async () => {
        const all = await lab.instances(ref);
        return all.length === count && all.every((one) => one.ready) && all;
      },
      `${String(count)} are ready; ${lab.complaints}`,
    );
  /** Which node each runs on, by its instance. */
  const nodes = async (): Promise<Map<string, string>> => {
    const tasks = await lab.api.json<SwarmTask[]>("GET", "/tasks");
    return new Map(
      tasks
        .filter((one) => one.Status.State === "running" && one.DesiredState === "running")
        .map((one) => [one.Spec.ContainerSpec?.Labels?.["berth.instance"] ?? "", one.NodeID ?? ""]),
    );
  };
  /** From the manager's own network, where the edge is. */
  const ask = async (one: Instance): Promise<string> => {
    const { host, port } = one.addresses["http"] ?? { host: "", port: 0 };
    const [file = "", ...args] = [...swarm.manager.inside, "curl", "-sf", "--max-time", "60", `http://${host}:${String(port)}/`];
    return (await run(file, args)).stdout;
  };

  it("spreads the replicas of a component over the nodes, and reaches each of them at its own address", async () => {
    await lab.run(web(), { replicas: 4 });
    const all = await ready(4);
    const where = await nodes();
    const counts = swarm.nodes.map(({ id }) => all.filter((one) => where.get(one.id) === id).length);
    expect(counts).toEqual([2, 2]);
    for (const one of all) expect(await ask(one)).toBe("hello");
    expect(new Set(all.map((one) => one.addresses["http"]?.host)).size).toBe(4);
    // People meet them as services, with readable names and labels.
    const services = await lab.api.json<Service[]>("GET", "/services", {
      query: { filters: JSON.stringify({ label: ["berth.component=web"] }) },
    });
    expect(services.map((one) => one.Spec.Name).sort()).toEqual(all.map((one) => `shop-${one.id}`).sort());
    // What spread them does not keep Swarm from moving them.
    await until(
      async () =>
        (await lab.api.json<Service[]>("GET", "/services")).every(
          (one) => (one.Spec.TaskTemplate.Placement?.Constraints ?? []).length === 0,
        ),
      "all may run anywhere",
    );
  });

  it("says where an instance runs that cannot be entered from here", async () => {
    const [, second] = swarm.nodes;
    const elsewhere = [...(await nodes())].find(([, node]) => node === second?.id)?.[0] ?? "";
    const session = await lab.engine
      .exec({ stack: "shop", component: "web" }, elsewhere, { exec: ["true"] }, undefined, never)
      .then((one) => one.exit)
      .catch((error: unknown) => error);
    expect(JSON.stringify(session instanceof Error ? { ...session, message: session.message } : session)).toContain("node-2");
  });

  it("moves what runs on a drained node: the same instances at the same addresses, told truthfully meanwhile", async () => {
    const before = await ready(4);
    const [first, second] = swarm.nodes;
    const moving = [...(await nodes())].filter(([, node]) => node === second?.id).map(([id]) => id);
    /** The Swarm writes of its nodes too: then it is asked again. */
    const become = (Availability: string): Promise<boolean> =>
      until(async () => {
        const node = `/nodes/${second?.id ?? ""}`;
        const { Version, Spec } = await lab.api.json<{ readonly Version: { readonly Index: number }; readonly Spec: object }>("GET", node);
        return lab.api.json("POST", `${node}/update`, { query: { version: Version.Index }, body: { ...Spec, Availability } }).then(
          () => true,
          (error: unknown) => {
            if (error instanceof DockerError && /out of sequence/.test(error.message)) return false;
            throw error;
          },
        );
      }, `the node is to be ${Availability}`);
    const stale = lab.processes.readiness.length;
    await become("drain");
    // Never told as ready where it cannot be reached; the others serve on.
    await until(async () => {
      const all = await lab.instances();
      const staying = all.filter((one) => !moving.includes(one.id));
      expect(staying.every((one) => one.ready && one.restarts === 0)).toBe(true);
      const told = lab.processes.readiness.slice(stale).flatMap((message) => message.instances);
      return moving.every((id) => told.some((one) => one.id === id && !one.ready));
    }, "all that move are told as not ready");
    const after = await until(async () => {
      const all = await ready(4);
      return all.filter((one) => moving.includes(one.id)).every((one) => one.restarts === 1) && all;
    }, "all are back");
    expect(after.map((one) => [one.id, one.addresses])).toEqual(before.map((one) => [one.id, one.addresses]));
    expect(new Set((await nodes()).values())).toEqual(new Set([first?.id]));
    for (const one of after) expect(await ask(one)).toBe("hello");
    await become("active");
  });

  it("is found again by an agent whose folder was lost, and stays reachable", async () => {
    const before = await ready(4);
    await lab.processes.kill("agent");
    await lab.processes.kill("collector");
    for (const folder of ["instances", "tasks", "stacks"]) await rm(join(lab.home, "edge", folder), { recursive: true, force: true });
    await lab.upAgent();
    await lab.processes.up("collector");
    const after = await ready(4);
    expect(after.map((one) => [one.id, one.addresses, one.startedAt])).toEqual(before.map((one) => [one.id, one.addresses, one.startedAt]));
    for (const one of after) expect(await ask(one)).toBe("hello");
  });

  it("reaches instances again when somebody ended their gate", async () => {
    const [one] = await ready(4);
    const filters = JSON.stringify({ label: ["berth.network=gate", "berth.component=web"] });
    const [gate] = await lab.api.json<readonly { readonly Id: string }[]>("GET", "/containers/json", { query: { filters } });
    await lab.api.json("POST", `/containers/${gate?.Id ?? ""}/kill`);
    await until(
      () =>
        ask(one as Instance).then(
          (answer) => answer === "hello",
          () => false,
        ),
      "it is reached",
    );
  });

  it("keeps what has a volume on the manager's own node, and what it wrote there", async () => {
    const ref = { stack: "shop", component: "db" };
    const [first] = swarm.nodes;
    const keeper = web({
      ref,
      kind: "stateful",
      command: { shell: 'echo "$(cat /data/said 2> /dev/null) again" > /data/said; cat /data/said; exec sleep 300' },
      ports: [],
      volumes: [{ volume: "data", path: "/data" }],
    });
    const said = async (): Promise<string[]> => {
      const lines = [];
      for await (const line of lab.engine.logs(ref, { follow: false }, never)) lines.push(line.text.trim());
      return lines;
    };
    await lab.run(keeper);
    const [one] = await ready(1, ref);
    expect((await nodes()).get(one?.id ?? "")).toBe(first?.id);
    await until(async () => (await said()).includes("again"), "it said what it wrote");
    await lab.engine.stop(ref, [one?.id ?? ""], 0, lab.fence(), never);
    await until(async () => (await lab.instances(ref)).length === 0, "it is gone");
    await lab.run(keeper);
    await ready(1, ref);
    await until(async () => (await said()).includes("again again"), "what was written is there");
    expect(await said()).toEqual(["again", "again again"]);
  });

  it("says that a daemon is no manager, and makes nothing there", async () => {
    await lab.processes.kill("agent");
    lab.configure({ docker: swarm.nodes[1]?.url });
    await lab.processes.up("agent");
    await until(
      async () => (await lab.engine.capabilities(never)).notices.some(({ code }) => code === "swarm_not_manager"),
      "the daemon's place in the swarm is known",
    );
    await until(
      async () =>
        lab.run(web({ ref: { stack: "shop", component: "lost" } })).then(
          () => false,
          (error: unknown) => JSON.stringify(error).includes("swarm_not_manager"),
        ),
      "it is refused with the reason",
    );
    const services = await lab.api.json<Service[]>("GET", "/services");
    expect(services.filter(({ Spec }) => Spec.Labels["berth.component"] === "lost")).toEqual([]);
  });
});
