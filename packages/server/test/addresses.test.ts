// Releases that change where a component is reached, through the whole component loop: whoever served keeps its address until it has left, drained (promise 3).
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, test } from "vitest";
import { defaultSpec, type ComponentSpec, type Port } from "@berth/contract/spec.ts";
import { claimInternalPorts } from "../src/resources/components/claims.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const http: Port = { name: "http", protocol: "http" };
const web = (over: Partial<ComponentSpec> = {}): ComponentSpec => ({
  ...defaultSpec("web"),
  build: { context: "." },
  command: { exec: ["app"] },
  drainTimeout: 5_000,
  gracePeriod: 3_000,
  ...over,
});
const worker = (over: Partial<ComponentSpec> = {}): ComponentSpec =>
  web({ kind: "worker", ports: [], drainTimeout: 1, gracePeriod: 1, ...over });

async function scene(): Promise<Scene> {
  const made = new Scene(services());
  await made.create();
  return made;
}

/** `http web.s.localhost: id active`, one line a port. */
function routes({ traffic, ref }: Scene): string[] | undefined {
  return traffic
    .entry(ref)
    ?.ports.map(
      (port) =>
        `${port.name} ${port.hosts.map(({ host }) => host.replace(`.${ref.stack}.localhost`, "")).join()}: ${port.tracks.flatMap((track) => track.endpoints.map((endpoint) => endpoint.state)).join()}`,
    );
}
const claims = async ({ componentId }: Scene) => {
  const { db } = services().database;
  const of = async (table: "routes" | "internal_ports" | "published_ports") =>
    (await db.selectFrom(table).selectAll().where("component_id", "=", componentId).execute()).length;
  return { routes: await of("routes"), internal: await of("internal_ports"), published: await of("published_ports") };
};
const stops = ({ engine, ref }: Scene) => engine.calls.filter(({ call, ref: of }) => call === "stop" && of?.stack === ref.stack);

describe("a release that drops all its ports", () => {
  test("takes the old instances out of the router, drains them by their own time-out, stops them with their own grace, and removes the entry last", async () => {
    const at = await scene();
    await at.rolledOut(await at.deploy(web()));
    const [old] = await at.instances();
    if (old === undefined) throw new Error("nothing runs");
    at.engine.behave(old.revision.releaseHash, { stopAfter: 60_000 });
    at.traffic.setInFlight(old.id, 1);
    expect(routes(at)).toEqual(["http app: active"]);
    await at.deploy(worker());
    await at.passUntil(() => routes(at)?.[0] === "http : draining", "the old instance to leave the router");
    const leftAt = at.now;
    expect(stops(at)).toEqual([]);
    // It is live, and the old one keeps its addresses for what it has begun.
    expect((await at.rolledOut(2)).phase).toBe("succeeded");
    expect(await claims(at)).toMatchObject({ internal: 1 });
    // One request is still on its way in it: it may take as long as the old release allows, not as the new one does.
    await at.passUntil(() => stops(at).length > 0, "the stop");
    expect(at.now - leftAt).toBeGreaterThanOrEqual(4_800);
    expect(at.now - leftAt).toBeLessThan(6_000);
    expect(at.traffic.entry(at.ref)).toBeDefined();
    const stoppedAt = at.now;
    await at.passUntil(async () => (await at.instances()).every(({ id }) => id !== old.id), "its end");
    // It heeds no SIGTERM: the grace of its own release, not of the new one, was given to it.
    expect(at.now - stoppedAt).toBeGreaterThanOrEqual(2_900);
    expect(at.now - stoppedAt).toBeLessThan(4_000);
    await at.passUntil(async () => Object.keys((await at.row()).memory?.draining ?? {}).length === 0, "nothing to be left of it");
    expect(at.traffic.entry(at.ref)).toBeUndefined();
    expect((await at.row()).memory).toEqual({ draining: {}, whole: expect.any(String) as string });
    expect(await claims(at)).toEqual({ routes: 0, internal: 0, published: 0 });
    // The new one is out of the router's reach, and was never stopped.
    expect((await at.instances()).map(({ addresses, ready }) => ({ addresses, ready }))).toEqual([{ addresses: {}, ready: true }]);
  });

  test("removes the entry also when it died right after the last instance was gone", async () => {
    const at = await scene();
    await at.rolledOut(await at.deploy(web()));
    await at.deploy(worker());
    const crash = new Error("killed");
    await at.passUntil(
      async () => (await at.instances()).every(({ addresses }) => Object.keys(addresses).length === 0),
      "the old one's end",
      5,
    );
    for (let count = 0; count < 3; count += 1)
      await at
        .pass(() => Promise.reject(crash))
        .catch((error: unknown) => {
          if (error !== crash) throw error;
        });
    await at.rolledOut(2);
    await at.passUntil(() => at.traffic.entry(at.ref) === undefined, "the end of its entry");
  });

  test("goes on serving while the new one is built, and after its build failed", async () => {
    const at = await scene();
    await at.rolledOut(await at.deploy(web()));
    const before = routes(at);
    await at.deploy(worker(), "running");
    for (let count = 0; count < 5; count += 1) await at.pass();
    expect(routes(at)).toEqual(before);
    await services().database.db.updateTable("builds").set({ phase: "failed" }).where("phase", "=", "running").execute();
    expect((await at.rolledOut(2)).phase).toBe("failed");
    for (let count = 0; count < 5; count += 1) await at.pass();
    expect(routes(at)).toEqual(before);
  });

  test("gives everything back when it is aborted half-way", async () => {
    const at = await scene();
    await at.rolledOut(await at.deploy(web({ replicas: 2 })));
    const before = routes(at);
    await at.deploy(worker({ replicas: 2 }));
    await at.passUntil(() => routes(at)?.[0]?.includes("draining") === true, "the first old one to leave", 20);
    await services().handlers.abortRollout({ params: { ...at.ref, rollout: 2 } }, services().call());
    expect((await at.rolledOut(2)).phase).toBe("aborted");
    expect(routes(at)).toEqual(before);
    expect(await claims(at)).toEqual({ routes: 1, internal: 1, published: 0 });
  });
});

describe("the first ports of a component", () => {
  test("are routed before the instances without ports leave", async () => {
    const at = await scene();
    await at.rolledOut(await at.deploy(worker()));
    expect(at.traffic.entry(at.ref)).toBeUndefined();
    const [old] = await at.instances();
    await at.deploy(web());
    await at.passUntil(() => stops(at).length > 0, "the old one's stop", 20);
    expect(stops(at)).toMatchObject([{ detail: [old?.id] }]);
    expect(routes(at)).toEqual(["http app: active"]);
    expect((await at.rolledOut(2)).verified).toMatchObject([{ status: 200 }]);
  });

  test("come back with a rollback to the release that had them, and go with one to the release that had none", async () => {
    const at = await scene();
    await at.rolledOut(await at.deploy(web({ domains: [{ host: "shop.example.org" }] })));
    await at.rolledOut(await at.deploy(worker()));
    expect(await claims(at)).toEqual({ routes: 0, internal: 0, published: 0 });
    await services().handlers.rollbackComponent({ params: at.ref, body: { release: 1 } }, services().call());
    expect((await at.rolledOut(3)).verified).toHaveLength(2);
    expect(routes(at)).toEqual(["http shop.example.org,app: active"]);
    await services().handlers.rollbackComponent({ params: at.ref, body: { release: 2 } }, services().call());
    expect((await at.rolledOut(4)).phase).toBe("succeeded");
    expect(at.traffic.entry(at.ref)).toBeUndefined();
    expect(await claims(at)).toEqual({ routes: 0, internal: 0, published: 0 });
  });
});

describe("a release that calls its port another name", () => {
  test("loses no address while it is built, rolls out under both names, and keeps the new one", async () => {
    const at = await scene();
    await at.rolledOut(await at.deploy(web()));
    await at.deploy(web({ ports: [{ ...http, name: "front" }] }), "running");
    for (let count = 0; count < 5; count += 1) await at.pass();
    expect(routes(at)).toEqual(["http app: active"]);
    await at.built();
    await at.passUntil(() => routes(at)?.length === 2, "both names");
    expect(routes(at)?.every((line) => line.includes("active"))).toBe(true);
    expect((await at.rolledOut(2)).verified).toMatchObject([{ status: 200 }]);
    for (let count = 0; count < 3; count += 1) await at.pass();
    expect(routes(at)).toEqual(["front app: active"]);
    expect(await claims(at)).toEqual({ routes: 1, internal: 1, published: 0 });
  });
});

describe("a domain that moves from one component to another of the stack", () => {
  test("is the other one's at once, and no rollout of the first takes it back", async () => {
    const at = await scene();
    const domains = [{ host: "moved.example.org" }];
    await at.rolledOut(await at.deploy(web({ domains })));
    const { handlers, call } = services();
    const second = { params: { stack: at.ref.stack, component: "second" }, body: web({ domains }) };
    await expect(handlers.setComponent(second, call())).rejects.toMatchObject({ code: "host_taken" });
    await at.deploy(web(), "running");
    await handlers.setComponent(second, call());
    await at.pass();
    expect(routes(at)).toEqual(["http app: active"]);
    await at.built();
    expect((await at.rolledOut(2)).verified).toHaveLength(1);
  });
});

test("an instance is stopped with the grace of its own release, also when the next one has another", async () => {
  const at = await scene();
  await at.rolledOut(await at.deploy(web({ gracePeriod: 8_000 })));
  const [old] = await at.instances();
  at.engine.behave(old?.revision.releaseHash ?? "", { stopAfter: 60_000 });
  await at.deploy(web({ gracePeriod: 100 }));
  await at.passUntil(() => stops(at).length > 0, "the stop", 20);
  const stoppedAt = at.now;
  await at.passUntil(async () => (await at.instances()).every(({ id }) => id !== old?.id), "its end");
  expect(at.now - stoppedAt).toBeGreaterThanOrEqual(7_900);
});

describe("an internal port", () => {
  test("on which another program of this machine listens is given to no component", async () => {
    const { db } = services().database;
    const at = await scene();
    await at.deploy(worker());
    const { id, stack_id: stack } = await at.row();
    const { cluster_id: cluster } = await db.selectFrom("stacks").select("cluster_id").where("id", "=", stack).executeTakeFirstOrThrow();
    const undone = new Error("undone");
    /** The one that would be next. */
    async function next(): Promise<number> {
      let port = 0;
      const asked = db.transaction().execute(async (trx) => {
        await claimInternalPorts(trx, id, cluster, [http]);
        ({ port } = await trx.selectFrom("internal_ports").select("port").where("component_id", "=", id).executeTakeFirstOrThrow());
        throw undone;
      });
      await expect(asked).rejects.toBe(undone);
      return port;
    }
    const wanted = await next();
    const stranger = createServer().listen(wanted, "127.0.0.1");
    await once(stranger, "listening");
    try {
      expect(await next()).not.toBe(wanted);
    } finally {
      stranger.close();
    }
  });
});
