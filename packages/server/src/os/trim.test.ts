// What a busy time leaves behind is given back once the thread is quiet, and only then.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const module_ = fileURLToPath(new URL("./trim.ts", import.meta.url));

/** MB of the heap after 40 MB of garbage that had grown old: while the thread works on, and once it is quiet. */
function heap(flags: readonly string[], busy: boolean): number {
  const script = `import { trimWhenQuiet } from ${JSON.stringify(module_)};
    import { getHeapStatistics } from "node:v8";
    let kept = Array.from({ length: 400_000 }, (_, index) => ({ text: "x" + index, list: [index] }));
    const life = new AbortController();
    trimWhenQuiet(life.signal, { period: 100 });
    kept.length = 0;
    const until = performance.now() + 1_000;
    const look = () => {
      if (${String(busy)}) { const end = performance.now() + 50; while (performance.now() < end); }
      if (performance.now() < until) setTimeout(look, ${busy ? "5" : "100"});
      else { console.log(getHeapStatistics().total_heap_size / 1e6); life.abort(); }
    };
    look();`;
  return Number(execFileSync(process.execPath, [...flags, "--input-type=module", "-e", script], { encoding: "utf8" }));
}

it("is given back once the thread is quiet", () => {
  expect(heap(["--expose-gc"], false)).toBeLessThan(20);
});

it("is left alone while the thread works, and where nothing may collect", () => {
  expect(heap(["--expose-gc"], true)).toBeGreaterThan(40);
  expect(heap([], false)).toBeGreaterThan(40);
});
