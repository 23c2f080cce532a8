// What a busy time leaves behind is given back once the thread is quiet, and only then.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const module_ = fileURLToPath(new URL("./trim.ts", import.meta.url));

/** MB of the heap after 40 MB of garbage that had grown old: while the thread works on without a pause, and once it is quiet. At most `patience` ms are given to the heap to be small. */
function heap(flags: readonly string[], busy: boolean, patience = 1_000): number {
  const script = `import { trimWhenQuiet } from ${JSON.stringify(module_)};
    import { getHeapStatistics } from "node:v8";
    let kept = Array.from({ length: 400_000 }, (_, index) => ({ text: "x" + index, list: [index] }));
    const life = new AbortController();
    trimWhenQuiet(life.signal, { period: 100 });
    kept.length = 0;
    const until = performance.now() + ${String(patience)};
    const look = () => {
      if (${String(busy)}) { const end = performance.now() + 50; while (performance.now() < end); }
      const size = getHeapStatistics().total_heap_size / 1e6;
      if (performance.now() < until && (${String(busy)} || size >= 20)) ${busy ? "setImmediate(look)" : "setTimeout(look, 100)"};
      else { console.log(size); life.abort(); }
    };
    look();`;
  return Number(execFileSync(process.execPath, [...flags, "--input-type=module", "-e", script], { encoding: "utf8" }));
}

it("is given back once the thread is quiet", () => {
  expect(heap(["--expose-gc"], false, 30_000)).toBeLessThan(20);
});

it("is left alone while the thread works, and where nothing may collect", () => {
  expect(heap(["--expose-gc"], true)).toBeGreaterThan(40);
  expect(heap([], false)).toBeGreaterThan(40);
});
