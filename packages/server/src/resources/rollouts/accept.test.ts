import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byDependency } from "./accept.ts";

interface Item {
  readonly component: { readonly name: string };
  readonly spec: { readonly dependsOn: { component: string; condition: "ready" }[] };
}
const item = (name: string, ...needs: string[]): Item => ({
  component: { name },
  spec: { dependsOn: needs.map((component) => ({ component, condition: "ready" })) },
});
const names = (items: readonly Item[]): string => items.map((one) => one.component.name).join(" ");

describe("the order of a deployment", () => {
  it("is the given one where nothing depends on anything", () => {
    expect(names(byDependency([item("c"), item("a"), item("b")]))).toBe("c a b");
  });
  it("has what is needed before what needs it", () => {
    expect(names(byDependency([item("web", "api"), item("api", "db", "cache"), item("cache"), item("db")]))).toBe("db cache api web");
  });
  it("does not ask for components that are not deployed now", () => {
    expect(names(byDependency([item("web", "api", "elsewhere"), item("api")]))).toBe("api web");
  });
  it("loses none in a circle", () => {
    expect(
      names(byDependency([item("a", "b"), item("b", "a"), item("c", "a")]))
        .split(" ")
        .toSorted(),
    ).toEqual(["a", "b", "c"]);
    expect(names(byDependency([item("a", "a")]))).toBe("a");
  });
  it("holds for any graph without circles, with each component once", () => {
    // A component needs only ones of a higher number, so there is no circle; then the order is shuffled.
    const graph = fc.integer({ min: 1, max: 9 }).chain((size) =>
      fc.record({
        needs: fc.array(fc.array(fc.nat(size - 1), { maxLength: 4 }), { minLength: size, maxLength: size }),
        order: fc.shuffledSubarray(
          Array.from({ length: size }, (_, index) => index),
          { minLength: size, maxLength: size },
        ),
      }),
    );
    fc.assert(
      fc.property(graph, ({ needs, order }) => {
        const items = order.map((index) =>
          item(`n${index}`, ...(needs[index] ?? []).filter((other) => other > index).map((other) => `n${other}`)),
        );
        const ordered = byDependency(items);
        expect(ordered.toSorted((a, b) => items.indexOf(a) - items.indexOf(b))).toEqual(items);
        const place = new Map(ordered.map((one, index) => [one.component.name, index]));
        for (const [index, one] of ordered.entries())
          for (const { component } of one.spec.dependsOn) expect(place.get(component)).toBeLessThan(index);
      }),
      { numRuns: 300 },
    );
  });
});
