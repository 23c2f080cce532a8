// Archives of volumes over a real HTTP server and database: who may, what is written down, and what becomes of a row whose content did not come. The engine is in memory; the
// real ones are in the conformance suite.
import { connect } from "node:net";
import { beforeEach, expect, test } from "vitest";
import tar from "tar-stream";
import { FakeEngine } from "../src/engines/fake.ts";
import { useHttp } from "./http.ts";
import { useServices } from "./services.ts";

const engine = new FakeEngine({ now: Date.now });
const services = useServices((deps) => ({ places: { ...deps.places, engine: () => engine } }));
const api = useHttp(services);
let stack = "";
let made = 0;

beforeEach(async () => {
  stack = `archives-${String((made += 1))}`;
  await services().handlers.createStack({ body: { name: stack } }, services().call());
});

const path = (volume = "data"): string => `/stacks/${stack}/volumes/${volume}/archive`;
const archive = async (): Promise<Buffer> => {
  const pack = tar.pack();
  pack.entry({ name: "./kept" }, "kept");
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};
const put = (raw: Buffer, token?: string) =>
  api().ask({
    method: "PUT",
    path: path(),
    raw,
    headers: { "content-type": "application/x-tar" },
    ...(token === undefined ? {} : { token }),
  });
const volumes = async () => (await services().handlers.listVolumes({ params: { stack }, query: {} }, services().call())).items;
const audited = async (): Promise<string[]> =>
  (
    await services().database.db.selectFrom("audit").select("action").where("object", "=", `volume:${stack}/data`).orderBy("at").execute()
  ).map(({ action }) => action);

test("go in and come out, and are written down", async () => {
  const bytes = await archive();
  const answer = await put(bytes);
  expect(answer.status, answer.body).toBe(200);
  expect(answer.json()).toMatchObject({ stack, name: "data", usedBy: [] });
  const back = await api().ask({ path: path() });
  expect(back.headers["content-type"]).toBe("application/octet-stream");
  expect(back.body).toBe(bytes.toString("utf8"));
  expect(await audited()).toEqual(["volumes.restore", "volumes.snapshot"]);
  expect((await put(bytes)).json()).toMatchObject({ code: "volume_not_empty", status: 409 });
  // What is there stays.
  expect(await volumes()).toHaveLength(1);
});

test("need a permission each", async () => {
  expect((await put(await archive(), await api().token("stacks.read", "volumes.read", "volumes.delete"))).json()).toMatchObject({
    code: "forbidden",
    params: { permission: "volumes.write" },
  });
  expect((await put(await archive(), await api().token("stacks.read", "volumes.write"))).status).toBe(200);
  expect((await api().ask({ path: path(), token: await api().token("stacks.read", "volumes.write") })).json()).toMatchObject({
    code: "forbidden",
    params: { permission: "volumes.read" },
  });
  expect((await api().ask({ path: path(), token: await api().token("stacks.read", "volumes.read") })).status).toBe(200);
  for (const ask of [{ path: path() }, { path: path("never-was") }])
    expect((await api().ask({ ...ask, token: api().outsider })).json()).toMatchObject({ code: "not_found" });
});

test("that are refused leave no volume behind", async () => {
  expect((await put(Buffer.from("this is no archive"))).json()).toMatchObject({ code: "archive_refused", status: 422 });
  expect((await volumes()).filter((volume) => volume.allowed["delete"]?.reason?.code !== "being_deleted")).toEqual([]);
  const due = await services().database.db.selectFrom("due").select("kind").where("kind", "=", "volume").execute();
  expect(due.length).toBeGreaterThan(0);
  // It is on its way out: content waits until it is gone.
  expect((await put(await archive())).json()).toMatchObject({ code: "wrong_state" });
});

test("whoever is refused hears why in the middle of what he sends", async () => {
  await put(await archive());
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connect(api().port, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (!text.includes("requestId")) return;
      resolve(text);
      socket.destroy();
    });
    socket.on("error", reject);
    // Announced, and never sent to its end.
    const head = [
      "host: localhost",
      `authorization: Bearer ${api().admin}`,
      "content-type: application/x-tar",
      "content-length: 100000000",
    ];
    socket.write(`PUT /api/v1${path()} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n`);
    socket.write(Buffer.alloc(3_000_000));
  });
  expect(answer).toMatch(/volume_not_empty/);
});
