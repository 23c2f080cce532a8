// Traffic by the Gateway API on a real cluster.
import { readFileSync } from "node:fs";
import { beforeAll, describe, inject } from "vitest";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { trafficByGateway } from "./testing/gateway.ts";
import { KubernetesPlace, nobodyImage } from "./testing/place.ts";

const { missing, kubeconfig, gateway } = inject("cluster");

describe.skipIf(missing !== undefined)(`traffic by the Gateway API${missing === undefined ? "" : ` (${missing})`}`, () => {
  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
  });
  trafficByGateway(() => KubernetesPlace.open(readFileSync(kubeconfig, "utf8")), gateway);
});
