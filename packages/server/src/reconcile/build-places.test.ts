// Places of builds: never more taken than there are, given to those that wait in their order, and lost by nobody who gives up.
import { expect, it } from "vitest";
import { BuildPlaces } from "./build-places.ts";

const never = new AbortController().signal;
const settled = async (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => true), new Promise<false>((resolve) => setImmediate(() => resolve(false)))]);

it("gives a place to the next in line when one is given back, once", async () => {
  const places = new BuildPlaces(2);
  const [first, second] = [await places.take(never), await places.take(never)];
  const [third, fourth] = [places.take(never), places.take(never)];
  expect(await settled(third)).toBe(false);
  first();
  first();
  expect(await settled(third)).toBe(true);
  expect(await settled(fourth)).toBe(false);
  second();
  expect(await settled(fourth)).toBe(true);
  (await third)();
  (await fourth)();
  await Promise.all([places.take(never), places.take(never)]);
  expect(await settled(places.take(never))).toBe(false);
});

it("passes over who gave up waiting", async () => {
  const places = new BuildPlaces(1);
  const held = await places.take(never);
  const impatient = new AbortController();
  const [gone, next] = [places.take(impatient.signal), places.take(never)];
  impatient.abort(new Error("cancelled"));
  await expect(gone).rejects.toThrow("cancelled");
  held();
  expect(await settled(next)).toBe(true);
  await expect(places.take(AbortSignal.abort(new Error("late")))).rejects.toThrow("late");
});
