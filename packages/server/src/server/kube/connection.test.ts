// What is said of a cluster that falls silent, or does not know us any more: soon, since when it was so, and until it is not.
import { afterEach, expect, it } from "vitest";
import { silentLog } from "../../db/log.ts";
import { KubeApi } from "../../kubernetes/api.ts";
import { BadServer, json, refusal, until } from "../../kubernetes/testing/server.ts";
import { KubeConnection } from "./connection.ts";

const made: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of made.splice(0).reverse()) await one.close();
});

const gateway = {
  metadata: { namespace: "default", name: "public", uid: "1", resourceVersion: "7" },
  status: { conditions: [{ type: "Programmed", status: "True" }] },
};

/** A server with one gateway, whose watch tells nothing. */
async function start(beat: number, patience?: number) {
  const day: { mood: "well" | "silent" | "stranger" | "broken" | "busy" | "blind" } = { mood: "well" };
  let taken = 0;
  const server = await BadServer.start((request, response) => {
    if (day.mood === "silent") return;
    if (day.mood === "stranger") return json(response, 401, refusal(401, "Unauthorized"));
    if (day.mood === "broken") return json(response, 500, refusal(500, "InternalError"));
    if (day.mood === "busy") return json(response, 429, refusal(429, "TooManyRequests"), { "retry-after": "0" });
    if (request.url?.startsWith("/version") === true) return json(response, 200, { gitVersion: "v1.34.0" });
    if (day.mood === "blind") return json(response, 503, refusal(503, "ServiceUnavailable"));
    if (request.url?.includes("watch=true") !== true) return json(response, 200, { metadata: { resourceVersion: "7" }, items: [gateway] });
    response.writeHead(200, { "content-type": "application/json" }).flushHeaders();
  });
  made.push({ close: () => server[Symbol.asyncDispose]() });
  const connection = new KubeConnection({
    of: {
      kind: "kubernetes",
      cluster: "far",
      domain: "far.test",
      access: server.access,
      facts: {
        server: server.access.server,
        context: "far",
        gateway: { namespace: "default", name: "public" },
        address: { host: "127.0.0.1", port: 80 },
      },
    },
    api: new KubeApi(server.access),
    installation: "one",
    takeOver: () => Promise.resolve(void (taken += 1)),
    onChange: () => undefined,
    log: silentLog,
    beat,
    patience,
  });
  made.push(connection);
  await until(() => connection.state.connected);
  return { day, server, connection, taken: () => taken };
}

it.each([
  ["silent", /gave no answer in time/],
  ["stranger", /does not know who asks/],
  ["broken", /InternalError/],
] as const)(
  "is away when it is %s, although its watch still stands, since it was heard last; and is taken over again afterwards",
  async (mood, words) => {
    const { day, connection, taken } = await start(1_500);
    const before = Date.now();
    day.mood = mood;
    await until(() => !connection.state.connected);
    // A beat to ask, one to wait, and what a busy machine adds.
    expect(Date.now() - before).toBeLessThan(15_000);
    expect(connection.state.reason).toMatch(words);
    expect(connection.state.since.getTime()).toBeLessThan(Date.now() - 300);
    expect(connection.place?.connected).toBe(false);
    day.mood = "well";
    await until(() => connection.state.connected);
    expect(taken()).toBe(2);
  },
);

it("is there as long as it answers, if only that it is busy", async () => {
  // Longer than this process may be held up, which would look like silence.
  const { day, server, connection, taken } = await start(1_500);
  day.mood = "busy";
  const states: boolean[] = [];
  await until(() => {
    states.push(connection.state.connected);
    // Nine times each beat, since whoever is busy is asked again.
    return server.asked.filter((one) => one.includes("/version")).length >= 3 * 9;
  });
  expect(states).not.toContain(false);
  expect(taken()).toBe(1);
});

it("is there for the whole patience when a watch is cut that was quiet for longer, and away after it", async () => {
  const patience = 1_500;
  const { day, server, connection, taken } = await start(1_500, patience);
  await new Promise((resolve) => setTimeout(resolve, patience + 500));
  day.mood = "blind";
  for (const socket of server.sockets) socket.destroy();
  const cut = Date.now();
  await until(() => !connection.state.connected);
  expect(Date.now() - cut).toBeGreaterThanOrEqual(patience);
  expect(connection.state.reason).toMatch(/ServiceUnavailable/);
  day.mood = "well";
  await until(() => connection.state.connected);
  expect(taken()).toBe(2);
});
