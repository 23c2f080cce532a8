// How the instances of a component are divided among clusters, and which placements are none.
import { defaultSpec, type Placement } from "@berth/contract/spec.ts";
import { expect, test } from "vitest";
import { divide, numbersOf, placementProblem } from "./placement.ts";

const shares = (...of: (number | undefined)[]): Placement => ({
  clusters: of.map((share, index) => ({ name: `c${String(index)}`, ...(share === undefined ? {} : { share }) })),
});

test.each([
  [5, [3, 2], [3, 2]],
  [10, [9, 1], [9, 1]],
  [7, [1, 1, 1], [3, 2, 2]],
  [7, [undefined, undefined], [4, 3]],
  [4, [10, 1, 1], [2, 1, 1]],
  [10, [3, 3, 3, 1], [3, 3, 3, 1]],
  [6, [1, 0, 1], [3, 0, 3]],
  [0, [3, 2], [0, 0]],
  [1, [5, 1], [1, 1]],
  [1000, [1, 999], [1, 999]],
])("divides %i by shares %j as %j", (total, of, amounts) => {
  expect(divide(total, shares(...of))).toEqual(amounts);
});

test("never takes the last instance of a cluster that has a share, and never makes more than are wanted where there are enough for all", () => {
  for (let total = 1; total <= 40; total += 1)
    for (const of of [
      [1, 1],
      [7, 2, 1],
      [100, 1, 1, 1],
      [1, 0, 5],
      [3, 3, 3, 1],
    ]) {
      const amounts = divide(total, shares(...of));
      const placed = of.filter((share) => share > 0).length;
      expect(amounts.every((amount, index) => (of[index] === 0 ? amount === 0 : amount >= 1))).toBe(true);
      expect(amounts.reduce((all, amount) => all + amount, 0)).toBe(Math.max(total, placed));
    }
});

test("keeps the proportions of numbers, of which none may be missing", () => {
  const placement = { clusters: ["east", "west"].map((name, index) => ({ name, replicas: 3 - index })) };
  expect(numbersOf(placement)).toEqual([3, 2]);
  expect(divide(10, placement)).toEqual([6, 4]);
  expect(divide(4, { clusters: placement.clusters.map(({ name }) => ({ name, replicas: 0 })) })).toEqual([2, 2]);
  expect(numbersOf(shares(1, 2))).toBeUndefined();
});

test.each([
  ["runs in one cluster", { ...defaultSpec("stateful"), placement: shares(1) }],
  ["has volumes", { ...defaultSpec("worker"), volumes: [{ volume: "data", path: "/data", readOnly: false }], placement: shares(1) }],
  ["an autoscaler", { ...defaultSpec("worker"), autoscale: { min: 1, max: 2, cpu: 50 }, placement: shares(1) }],
  ["c0 twice", { ...defaultSpec("worker"), placement: { clusters: [{ name: "c0" }, { name: "c0" }] } }],
  ["home, is not the first", { ...defaultSpec("worker"), placement: shares(1, 1) }],
  ["a number of replicas and a share", { ...defaultSpec("worker"), placement: { clusters: [{ name: "home", replicas: 1, share: 1 }] } }],
  ["others a share", { ...defaultSpec("worker"), placement: { clusters: [{ name: "home", replicas: 1 }, { name: "west" }] } }],
  ["no cluster has a share", { ...defaultSpec("worker"), placement: { clusters: [{ name: "home", share: 0 }] } }],
])("says that %s", (reason, spec) => {
  expect(placementProblem(spec, "home")?.reason).toContain(reason);
});

test("has nothing against two clusters with numbers, and none in the first", () => {
  const placement = {
    clusters: [
      { name: "home", replicas: 0 },
      { name: "west", replicas: 2 },
    ],
    pause: 1000,
  };
  expect(placementProblem({ ...defaultSpec("web"), placement }, "home")).toBeUndefined();
});
