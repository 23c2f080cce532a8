// Who answers at an instance's door: a program that takes another component's port gets no traffic, whichever address or option it takes it by.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Instance, Ref, Workload } from "../../engines/engine.ts";
import { doorkeepers, type Listener } from "./listening.ts";
import { isRoot, Lab, never, until } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

// Older ones do not know SO_REUSEPORT.
const node = { tools: [{ name: "node", wanted: ">=24" }], command: { exec: ["node", "main.mjs"] } };
const http = { ports: [{ name: "http", protocol: "http" as const }] };
const component = (name: string): Ref => ({ stack: "shop", component: name });

describe("doorkeepers", () => {
  const at = (host: string, inode: string): Listener => ({ port: 80, inode, uid: 0, host });
  const inodes = (...open: Listener[]): string[] => doorkeepers(80, open).map((one) => one.inode);
  it("are told by the kernel's own order: the address itself, all of IPv4, all of both", () => {
    expect(inodes(at("::", "both"), at("0.0.0.0", "four"), at("127.0.0.1", "exact"))).toEqual(["exact"]);
    expect(inodes(at("::", "both"), at("0.0.0.0", "four"))).toEqual(["four"]);
    expect(inodes(at("::", "both"))).toEqual(["both"]);
    expect(inodes(at("0.0.0.0", "one"), at("0.0.0.0", "two"))).toEqual(["one", "two"]);
  });
  it("are not those at other addresses and ports", () => {
    expect(inodes(at("127.0.0.2", "a"), at("::1", "b"), { ...at("127.0.0.1", "c"), port: 81 })).toEqual([]);
  });
});

// All stacks have the same user here: nothing but the look at the door keeps a thief from it.
describe("a thief of ports, where everything has one user", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open(isRoot ? { asUser: 12_345 } : {});
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });

  /** `over`: beside its ports. */
  async function victim(
    name: string,
    main: string,
    over: Partial<Workload> = {},
  ): Promise<{ readonly ref: Ref; readonly port: number; readonly id: string }> {
    const ref = component(name);
    await lab.run(await lab.workload({ "main.mjs": main }, { ref, stackId: `stack-${name}`, ...node, ...http, ...over }));
    const one = await lab.instance((found) => found.addresses["http"] !== undefined, "it has a port", 60_000, ref);
    return { ref, port: one.addresses["http"]?.port ?? 0, id: one.id };
  }
  /** Tries until it has the port at this address. */
  async function thief(name: string, port: number, listen: string): Promise<void> {
    const main = `import { createServer } from "node:http"; const take = () => { const server = createServer((q, r) => r.end("stolen")); server.on("error", () => setTimeout(take, 1)); server.listen({ port: ${port}, ${listen} }, () => console.log("has it")); }; take(); setInterval(() => undefined, 1000);`;
    await lab.run(await lab.workload({ "main.mjs": main }, { ref: component(name), stackId: `stack-${name}`, kind: "worker", ...node }));
    await lab.instance((one) => one.pid !== undefined, "the thief runs", 60_000, component(name));
  }
  const has = (name: string): Promise<true> =>
    until(async () => (await lab.logs({}, component(name))).some((line) => line.text === "has it") || undefined, "the thief has it");
  const told = async (ref: Ref, owner: string): Promise<Instance> =>
    lab.instance(
      (one) => !one.ready && one.cause?.code === "port_taken" && String(one.cause.params["owner"]).includes(owner),
      "the thief is named",
      60_000,
      ref,
    );

  it("who was there first: the instance never becomes ready, and the cause names him", async () => {
    const { ref, port } = await victim(
      "late",
      `import { existsSync } from "node:fs"; import { createServer } from "node:http"; const wait = () => { if (!existsSync("go")) return setTimeout(wait, 20); const s = createServer(); s.on("error", () => setTimeout(wait, 200)); s.listen(process.env.PORT, "127.0.0.1"); }; wait();`,
    );
    await thief("early", port, `host: "0.0.0.0"`);
    await has("early");
    await told(ref, "instance early-");
    expect(lab.readiness.flatMap(({ instances }) => instances).filter(({ id, ready }) => id.startsWith("late-") && ready)).toEqual([]);
  });

  it("at the address in front of one that listens elsewhere", async () => {
    const { ref, port } = await victim(
      "aside",
      `import { createServer } from "node:http"; createServer((q, r) => r.end("own")).listen(process.env.PORT, "::1");`,
    );
    await thief("front", port, `host: "127.0.0.1"`);
    await has("front");
    await told(ref, "instance front-");
    expect(lab.readiness.flatMap(({ instances }) => instances).filter(({ id, ready }) => id.startsWith("aside-") && ready)).toEqual([]);
  });

  it("beside it by SO_REUSEPORT: it leaves traffic, and comes back when he is gone", async () => {
    const { ref, port } = await victim(
      "shared",
      `import { createServer } from "node:http"; createServer((q, r) => r.end("own")).listen({ port: process.env.PORT, host: "127.0.0.1", reusePort: true });`,
    );
    await lab.instance((one) => one.ready, "ready while alone", 60_000, ref);
    await thief("sharer", port, `host: "127.0.0.1", reusePort: true`);
    await has("sharer");
    await told(ref, "instance sharer-");
    await lab.engine.remove(component("sharer"), lab.fence(), never);
    await lab.instance((one) => one.ready, "ready again", 60_000, ref);
  });

  /** What is seen of it sooner was not seen by a probe. */
  const seldomProbed = { probes: { readiness: { check: { type: "tcp" as const }, period: 600_000 } } };

  it("or nobody at all: who lets go of its port leaves traffic long before its next probe", async () => {
    const { ref, id, port } = await victim(
      "closing",
      `import { createServer } from "node:http"; const server = createServer((q, r) => { r.end("own"); server.close(); server.closeAllConnections(); }); server.listen(process.env.PORT, "127.0.0.1"); setInterval(() => undefined, 1000);`,
      seldomProbed,
    );
    await lab.instance((one) => one.ready, "ready", 60_000, ref);
    await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
    await until(
      () => lab.readiness.flatMap(({ instances }) => instances).findLast((one) => one.id === id)?.ready === false,
      "it left traffic",
      15_000,
    );
  });

  it("who waits until it lets go: it leaves traffic long before its next probe, too", async () => {
    const { ref, port, id } = await victim(
      "careless",
      `import { createServer } from "node:http"; const server = createServer((q, r) => { r.end("own"); if (q.url === "/close") { server.close(); server.closeAllConnections(); } }); server.listen(process.env.PORT, "127.0.0.1"); setInterval(() => undefined, 1000);`,
      seldomProbed,
    );
    await lab.instance((one) => one.ready, "ready", 60_000, ref);
    await thief("waiter", port, `host: "127.0.0.1"`);
    await fetch(`http://127.0.0.1:${port}/close`).catch(() => undefined);
    await has("waiter");
    await until(
      () => lab.readiness.flatMap(({ instances }) => instances).findLast((one) => one.id === id)?.ready === false,
      "it left traffic",
      15_000,
    );
    await told(ref, "instance waiter-");
  });

  it("at 127.0.0.2, or for IPv6 alone: takes nothing, and harms nobody", async () => {
    const { ref, port } = await victim(
      "unharmed",
      `import { createServer } from "node:http"; createServer((q, r) => r.end("own")).listen(process.env.PORT, "127.0.0.1");`,
    );
    await lab.instance((one) => one.ready, "ready", 60_000, ref);
    await thief("besides", port, `host: "::", ipv6Only: true`);
    await thief("next-door", port, `host: "127.0.0.2"`);
    await has("besides");
    await has("next-door");
    // Longer than several looks take.
    const from = lab.readiness.length;
    const until3 = Date.now() + 1_500;
    await until(async () => {
      expect((await lab.instances(ref))[0]?.ready).toBe(true);
      return Date.now() > until3;
    }, "it stayed ready");
    expect(
      lab.readiness
        .slice(from)
        .flatMap(({ instances }) => instances)
        .filter((one) => one.id.startsWith("unharmed-") && !one.ready),
    ).toEqual([]);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("own");
  });
});
