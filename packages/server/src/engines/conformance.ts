// What every engine does alike, as one suite of tests: it runs over the fake and over each real engine. Whoever writes a planner may rely on it, and on nothing else.
import { describe, vi } from "vitest";
import { archives } from "./conformance/archives.ts";
import { autoscaling } from "./conformance/autoscaling.ts";
import { tasksAndQuestions } from "./conformance/calls.ts";
import { instancesAndOrders } from "./conformance/instances.ts";
import { whatIsKept } from "./conformance/kept.ts";
import { Lab, type Place } from "./conformance/lab.ts";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 300_000 });

/** Defines the suite for one engine. `open` makes an empty place for it; the suite disposes of it. */
export function describeEngine(name: string, open: () => Promise<Place>): void {
  describe(`engine ${name}`, () => {
    const lab = new Lab(open);
    instancesAndOrders(lab);
    autoscaling(lab);
    whatIsKept(lab);
    archives(lab);
    tasksAndQuestions(lab);
  });
}
