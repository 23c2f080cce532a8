import { describe, expect, it } from "vitest";
import { Rounds } from "./rounds.ts";

const never = new AbortController().signal;

/** Runs that end when they are told to. */
function runs() {
  const begun: { readonly signal: AbortSignal; end(answer: number): void; fail(error: Error): void }[] = [];
  const run = (signal: AbortSignal): Promise<number> => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    begun.push({ signal, end: resolve, fail: reject });
    return promise;
  };
  return { begun, run };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("what several ask for at the same moment", () => {
  it("is done once for those who ask before it begins, and once more for all who ask while it runs", async () => {
    const { begun, run } = runs();
    const rounds = new Rounds<number>();
    const first = rounds.join("shop", run, never);
    await settled();
    const others = [rounds.join("shop", run, never), rounds.join("shop", run, never)];
    await settled();
    expect(begun).toHaveLength(1);
    begun[0]?.end(1);
    expect(await first).toBe(1);
    await settled();
    expect(begun).toHaveLength(2);
    begun[1]?.end(2);
    expect(await Promise.all(others)).toEqual([2, 2]);
    const last = rounds.join("shop", run, never);
    await settled();
    expect(begun).toHaveLength(3);
    begun[2]?.end(3);
    expect(await last).toBe(3);
  });

  it("fails for those who share it, and is tried again for who asked meanwhile", async () => {
    const { begun, run } = runs();
    const rounds = new Rounds<number>();
    const first = rounds.join("shop", run, never);
    await settled();
    const second = rounds.join("shop", run, never);
    begun[0]?.fail(new Error("no"));
    await expect(first).rejects.toThrow("no");
    await settled();
    begun[1]?.end(2);
    expect(await second).toBe(2);
  });

  it("goes on for others when one gives up, and ends when all did", async () => {
    const { begun, run } = runs();
    const rounds = new Rounds<number>();
    const [one, other] = [new AbortController(), new AbortController()];
    const asked = [rounds.join("shop", run, one.signal), rounds.join("shop", run, other.signal)];
    await settled();
    expect(begun).toHaveLength(1);
    const waits = rounds.join("shop", run, one.signal);
    one.abort(new Error("enough"));
    await expect(asked[0]).rejects.toThrow("enough");
    await expect(waits).rejects.toThrow("enough");
    expect(begun[0]?.signal.aborted).toBe(false);
    other.abort(new Error("enough too"));
    await expect(asked[1]).rejects.toThrow("enough too");
    expect(begun[0]?.signal.aborted).toBe(true);
    begun[0]?.end(1);
    await settled();
    // The one that nobody waits for any more is not begun.
    expect(begun).toHaveLength(1);
  });

  it("is apart for each key", async () => {
    const { begun, run } = runs();
    const rounds = new Rounds<number>();
    const both = [rounds.join("shop", run, never), rounds.join("blog", run, never)];
    await settled();
    for (const [index, one] of begun.entries()) one.end(index);
    expect(await Promise.all(both)).toEqual([0, 1]);
  });
});
