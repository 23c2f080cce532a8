// `berth autoscale` and `berth stacks quota`: what is left out stays as it is, and what is shown says between which numbers.
import type { Quota, StackQuota } from "@berth/contract/resources/stacks.ts";
import type { Autoscale } from "@berth/contract/spec.ts";
import { describe, expect, it } from "vitest";
import { cli, serve } from "../testing/served.ts";
import { aComponent } from "../testing/objects.ts";

describe("berth autoscale", () => {
  /** A component that has grown to four. */
  const withLimits = (limits: Autoscale | undefined) => {
    const { autoscale: _, ...spec } = aComponent().spec;
    return aComponent({ replicas: 4, ready: 4, spec: limits === undefined ? spec : { ...spec, autoscale: limits } });
  };

  it("changes what is named, keeps the rest, and says how it stands", async () => {
    let limits: Autoscale | undefined = { min: 2, max: 5, cpu: 70 };
    const asked: unknown[] = [];
    await serve({
      showComponent: () => withLimits(limits),
      listComponents: () => ({ items: [withLimits(limits)] }),
      autoscaleComponent: ({ body }) => {
        asked.push(body);
        limits = body.autoscale;
        return withLimits(limits);
      },
    });
    expect(await cli.run("autoscale web --max 20 --memory 80")).toMatchObject({
      code: 0,
      out: "web: 4 now, 2 to 20, for 70% of cpu and 80% of memory\n",
    });
    expect((await cli.run("components show web")).out).toMatch(/autoscaler +4 now, 2 to 20, for 70% of cpu and 80% of memory/);
    expect((await cli.run("status")).out).toContain("4/4 (2-20)");
    expect((await cli.run("autoscale web --off")).out).toBe("web: 4 instances, scaled by hand\n");
    expect((await cli.run("status")).out).not.toContain("(2-20)");
    expect(asked).toEqual([{ autoscale: { min: 2, max: 20, cpu: 70, memory: 80 } }, {}]);
  });

  it("wants to be told what to do, and a most", async () => {
    await serve({ showComponent: () => withLimits(undefined) });
    expect(await cli.run("autoscale web")).toMatchObject({ code: 2 });
    expect(await cli.run("autoscale web --off --max 3")).toMatchObject({ code: 2 });
    const open = await cli.run("autoscale web --cpu 70");
    expect(open).toMatchObject({ code: 2, err: expect.stringContaining("--max 10") as string });
  });
});

describe("berth stacks quota", () => {
  it("shows what is asked for, changes what is named and takes all of it away", async () => {
    let limits: Quota = { cpu: 2 };
    const quota = (): StackQuota => ({ limits, used: { instances: 3, cpu: 1.5, memory: 512 * 2 ** 20 } });
    await serve({
      showQuota: quota,
      setQuota: ({ body }) => {
        limits = body;
        return quota();
      },
    });
    expect((await cli.run("stacks quota shop")).out).toMatch(/cpu +1\.5 of 2 cores/);
    const set = await cli.run("stacks quota shop --memory 8g --instances 20");
    expect(set.out).toMatch(/instances +3 of 20/);
    expect(limits).toEqual({ cpu: 2, memory: 8 * 2 ** 30, instances: 20 });
    expect((await cli.run("stacks quota shop --off")).out).toMatch(/cpu +1\.5 of no limit/);
    expect(limits).toEqual({});
    for (const wrong of ["--memory lots", "--cpu -1", "--cpu much", "--off --cpu 1"])
      expect(await cli.run(`stacks quota shop ${wrong}`), wrong).toMatchObject({ code: 2 });
  });
});
