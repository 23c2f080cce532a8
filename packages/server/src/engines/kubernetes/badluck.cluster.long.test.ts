// The engine keeps what every engine promises while its cluster's API is slow, sends requests away and cuts its watches.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, inject } from "vitest";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { KubeApi } from "../../kubernetes/api.ts";
import { BadDays } from "../../kubernetes/testing/proxy.ts";
import { instancesAndOrders } from "../conformance/instances.ts";
import { Lab } from "../conformance/lab.ts";
import { accessOf, KubernetesPlace, nobodyImage } from "./testing/place.ts";

const { missing, kubeconfig } = inject("cluster");

describe.skipIf(missing !== undefined)(`the engine on bad days${missing === undefined ? "" : ` (${missing})`}`, () => {
  let days: BadDays;
  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
    days = await BadDays.open(accessOf(readFileSync(kubeconfig, "utf8")));
    days.become({ delay: 20, busy: 0.02, watchLife: 1_500 });
  });
  afterAll(async () => {
    expect(days.met.busy).toBeGreaterThan(0);
    expect(days.met.watchesCut).toBeGreaterThan(0);
    // Watches go on where they were cut: one list for each engine, however often that is.
    expect(days.begun.get("list pods") ?? 0).toBeLessThan((days.begun.get("watch pods") ?? 0) / 2);
    await days[Symbol.asyncDispose]();
  });
  instancesAndOrders(new Lab(() => KubernetesPlace.open(readFileSync(kubeconfig, "utf8"), { engineApi: new KubeApi(days.access) })));
});
