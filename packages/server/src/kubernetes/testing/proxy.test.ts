// What stands before a real API server in tests of bad days does what it is told to, and changes nothing otherwise.
import { afterEach, expect, it } from "vitest";
import { testCertificate } from "../../edge/testing/certificates.ts";
import { KubeApi } from "../api.ts";
import { Watched } from "../watch.ts";
import { BadDays } from "./proxy.ts";
import { BadServer, until } from "./server.ts";
import { Things } from "./things.ts";

const made: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of made.splice(0).reverse()) await one.close();
});

const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "web", namespace: "shop" } };

async function start() {
  const things = new Things();
  const server = await BadServer.start(things.answer);
  made.push({ close: () => server[Symbol.asyncDispose]() });
  const { certificate: cert, key } = testCertificate({ subject: "admin" });
  const days = await BadDays.open({ ...server.access, auth: { kind: "certificate", cert, key } }, () => 0.5);
  made.push({ close: () => days[Symbol.asyncDispose]() });
  const api = new KubeApi(days.access);
  made.push(api);
  const fails = (call: Promise<unknown> = api.create(object)): Promise<unknown> =>
    call.then(
      () => "nothing",
      (error: unknown) => error,
    );
  return { things, days, api, server, fails };
}

it("passes lists and watches on as they are, and cuts watches at random", async () => {
  const { things, days, api } = await start();
  things.put("a", 1);
  const watched = new Watched<number, { metadata: { name: string }; value: number }>(api, "Pod", { project: ({ value }) => value });
  made.push(watched);
  await watched.synced;
  expect([...watched.items]).toEqual([["shop/a", 1]]);
  await until(() => things.watchers.size === 1);
  things.put("b", 2);
  await until(() => watched.items.size === 2);
  expect(Object.fromEntries(days.begun)).toEqual({ "list pods": 1, "watch pods": 1 });
  days.become({ watchLife: 100 });
  things.cut();
  await until(() => days.met.watchesCut > 2);
  things.put("c", 3);
  await until(() => watched.items.size === 3);
});

it("answers instead of the server, and cuts answers that were given", async () => {
  const { days, server, fails } = await start();
  for (const [misery, seen] of [
    [{ broken: 1 }, { status: 500 }],
    [{ unavailable: 1 }, { status: 503, retryAfter: undefined }],
    [{ stranger: true }, { code: "unauthorized" }],
  ] as const) {
    days.become(misery);
    expect(await fails()).toMatchObject(seen);
  }
  expect(server.asked).toEqual([]);
  days.become({ cut: 1 });
  expect(await fails()).toMatchObject({ code: "cut" });
  expect(server.asked).toHaveLength(1);
});

it("is silent, is down, and shows other certificates", async () => {
  const { days, api, fails } = await start();
  const get = (timeout: number): Promise<unknown> => fails(api.request("GET", "/api/v1/pods", { timeout }));
  expect(await get(5_000)).toBe("nothing");
  days.become({ silent: true });
  expect(await get(300)).toMatchObject({ code: "timed_out" });
  days.become();
  expect(await get(5_000)).toBe("nothing");
  await days.down();
  expect(await get(5_000)).toMatchObject({ code: "refused" });
  await days.up();
  expect(await get(5_000)).toBe("nothing");
  days.show("expired");
  expect(await get(5_000)).toMatchObject({ code: "certificate_expired" });
  days.show("other");
  expect(await get(5_000)).toMatchObject({ code: "certificate_not_trusted" });
  days.show("own");
  expect(await get(5_000)).toBe("nothing");
});
