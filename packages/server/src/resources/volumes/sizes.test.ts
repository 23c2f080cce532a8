// Sizes of volumes: a list never waits for a measurement that takes long, and many lists make one measurement.
import { expect, it } from "vitest";
import { createVolumeSizes } from "./sizes.ts";

const volume = (stack: string, name = "data"): { id: string; name: string; stack_id: string; cluster: string } => ({
  id: `${stack}/${name}`,
  name,
  stack_id: stack,
  cluster: "local",
});

/** An engine that answers when it is told to. */
function engine() {
  const asked: string[] = [];
  const answers = new Map<string, (bytes: number | Error) => void>();
  return {
    asked,
    answer: (stack: string, bytes: number | Error) => answers.get(stack)?.(bytes),
    volumes: () => ({
      list: (stack: string) =>
        new Promise<{ name: string; bytes: number; usedBy: string[] }[]>((resolve, reject) => {
          asked.push(stack);
          answers.set(stack, (bytes) => {
            if (bytes instanceof Error) reject(bytes);
            else resolve([{ name: "data", bytes, usedBy: [] }]);
          });
        }),
    }),
  };
}

it("waits a moment for the first measurement, shows the last one while the next is at work, and asks once for all lists", async () => {
  const place = engine();
  let now = 0;
  const sizes = createVolumeSizes({ volumes: place.volumes, now: () => now });
  // Never answered in time: shown without a size.
  expect(await sizes.of([volume("a")])).toEqual(new Map());
  const lists = [sizes.of([volume("a"), volume("a", "other")]), sizes.of([volume("a")])];
  place.answer("a", 7);
  expect(await lists[0]).toEqual(
    new Map([
      ["a/data", 7],
      ["a/other", 0],
    ]),
  );
  expect(await lists[1]).toEqual(new Map([["a/data", 7]]));
  expect(place.asked).toEqual(["a"]);
  now += 60_000;
  expect(await sizes.of([volume("a")])).toEqual(new Map([["a/data", 7]]));
  expect(place.asked).toEqual(["a", "a"]);
  place.answer("a", new Error("away"));
  expect(await sizes.of([volume("a")])).toEqual(new Map([["a/data", 7]]));
});

it("measures a few stacks at once and all in the end, also when one never answers", async () => {
  const place = engine();
  const sizes = createVolumeSizes({ volumes: place.volumes, now: () => 0 });
  const stacks = Array.from({ length: 12 }, (_, index) => `s${index}`);
  await sizes.of(stacks.map((stack) => volume(stack)));
  expect(place.asked).toHaveLength(4);
  for (let turn = 1; turn < 12; turn += 1) {
    place.answer(`s${turn}`, turn);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(place.asked.toSorted()).toEqual(stacks.toSorted());
  const found = await sizes.of(stacks.map((stack) => volume(stack)));
  expect(found.size).toBe(11);
});
