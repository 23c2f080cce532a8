// What was there and is gone without anybody having asked for it is put back, once, and told in the events (promise 1), whatever was seen of its end meanwhile.
import { expect, test } from "vitest";
import { defaultSpec } from "@berth/contract/spec.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const worker = { ...defaultSpec("worker"), build: { context: "." }, command: { exec: ["app"] }, gracePeriod: 1 };

async function running(replicas = 1): Promise<Scene> {
  const at = new Scene(services());
  await at.create();
  await at.rolledOut(await at.deploy({ ...worker, replicas }));
  return at;
}
async function repairs({ ref }: Scene): Promise<number> {
  const { handlers, call } = services();
  const { items } = await handlers.listEvents({ query: { stack: ref.stack, code: "component_repaired", limit: 100 } }, call());
  return items.length;
}
/** Somebody removes it behind Berth's back. */
async function removed(at: Scene): Promise<string> {
  const [one] = await at.instances();
  const fence = (await at.engine.observe(at.ref, at.signal))?.fence;
  if (one === undefined || fence === undefined) throw new Error("nothing runs");
  await at.engine.stop(at.ref, [one.id], 0, fence, at.signal);
  at.now += 10;
  return one.id;
}
const whole =
  (at: Scene, but: string, count = 1) =>
  async (): Promise<boolean> => {
    const instances = await at.instances();
    return instances.length === count && instances.every(({ id, ready }) => ready && id !== but);
  };

test("tells that an instance was gone, and was started again", async () => {
  const at = await running(2);
  await at.pass();
  const gone = await removed(at);
  await at.passUntil(whole(at, gone, 2), "two instances");
  expect(await repairs(at)).toBe(1);
  for (let count = 0; count < 5; count += 1) await at.pass();
  expect(await repairs(at)).toBe(1);
});

test("tells it also of one that was seen to fail before it was gone", async () => {
  const at = await running();
  const [one] = await at.instances();
  const hash = one?.revision.releaseHash ?? "";
  at.engine.behave(hash, { exitAfter: 1, exitCode: 1 });
  await at.passUntil(async () => (await at.row()).state === "degraded", "its failure to be seen");
  const gone = await removed(at);
  at.engine.behave(hash, {});
  await at.passUntil(whole(at, gone), "another one");
  expect(await repairs(at)).toBe(1);
});

test("takes nothing for a repair that was asked for", async () => {
  const at = await running();
  const { handlers, call } = services();
  await handlers.scaleComponent({ params: at.ref, body: { replicas: 3 } }, call());
  await at.passUntil(whole(at, "", 3), "three instances");
  await handlers.scaleComponent({ params: at.ref, body: { replicas: 2 } }, call());
  await at.passUntil(whole(at, "", 2), "two instances");
  expect(await repairs(at)).toBe(0);
});
