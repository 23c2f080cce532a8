// Where the edge stands for components: addresses that stay, and names that lead to them.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Doors } from "./doors.ts";
import { Networks } from "./networks.ts";
import type { Daemon, Network } from "./daemon.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-doors-"));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

/** A daemon that remembers networks and has nothing else. */
function networksOf(made: Network[] = []): Networks {
  const daemon = {
    installation: "doors",
    networkKind: "bridge",
    openDoor: () => Promise.resolve(),
    networks: () => Promise.resolve(made),
    createNetwork: (body: { Name: string; IPAM: Network["IPAM"] }) => {
      made.push({ Id: body.Name, Name: body.Name, IPAM: body.IPAM });
      return Promise.resolve();
    },
  };
  return new Networks(daemon as unknown as Daemon, { base: "10.250.0.0/16", size: 24 });
}

const answers: string[] = [];
const open = (): Doors => {
  answers.length = 0;
  return new Doors(dir, networksOf(), (range) => {
    answers.push(range);
    return Promise.resolve();
  });
};

it("gives each component an address of its own, the same one whenever it is asked, also by another process", async () => {
  const doors = open();
  const [web, db] = [await doors.of("s1", "shop", "web"), await doors.of("s1", "shop", "db")];
  expect([web, db]).toEqual(["10.250.0.129", "10.250.0.130"]);
  expect(await doors.of("s2", "other", "web")).toBe("10.250.1.129");
  expect(readFileSync(doors.hostsFile("s1"), "utf8")).toContain("10.250.0.129 web\n10.250.0.130 db\n");
  expect(readFileSync(doors.hostsFile("s2"), "utf8")).not.toContain("db");
  expect(answers).toEqual(["10.250.0.128/25", "10.250.1.128/25"]);
  const next = open();
  await next.reopen();
  expect(answers.length).toBe(2);
  expect(await next.of("s1", "shop", "db")).toBe(db);
});

it("forgets a stack with its file", async () => {
  const doors = open();
  await doors.of("s1", "shop", "web");
  await doors.forget("s1");
  expect(readFileSync(doors.hostsFile("s1"), "utf8")).not.toContain("web");
});

it("says what the machine refused, and tries again the next time", async () => {
  let refuses = true;
  const doors = new Doors(dir, networksOf(), () =>
    refuses ? Promise.reject(new Error("RTNETLINK answers: Operation not permitted")) : Promise.resolve(),
  );
  await expect(doors.of("s1", "shop", "web")).rejects.toMatchObject({
    failure: { code: "stack_network_failed", params: { reason: "RTNETLINK answers: Operation not permitted" } },
    retryable: true,
  });
  refuses = false;
  expect(await doors.of("s1", "shop", "web")).toBe("10.250.0.129");
});

it("never gives the address of an instance to another while it has one, and lets what was given back rest", async () => {
  const networks = networksOf();
  await networks.open("s1", "shop");
  expect([networks.take("s1", "a"), networks.take("s1", "b")]).toEqual(["10.250.0.10", "10.250.0.11"]);
  networks.release("a");
  expect(networks.take("s1", "c")).toBe("10.250.0.12");
  networks.keep("10.250.0.13", "found");
  expect(networks.take("s1", "d")).toBe("10.250.0.14");
});

it("makes one network for a stack whose components come at the same moment, and none over another's", async () => {
  const made: Network[] = [];
  const networks = networksOf(made);
  await Promise.all([networks.open("s1", "shop"), networks.open("s1", "shop"), networks.open("s2", "other")]);
  expect(made.map(({ IPAM }) => IPAM.Config?.[0]?.Subnet)).toEqual(["10.250.0.0/24", "10.250.1.0/24"]);
});
