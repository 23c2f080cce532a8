// What somebody changes with kubectl of what the engine put into a real cluster.
import { readFileSync } from "node:fs";
import { beforeAll, describe, inject } from "vitest";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { changesByHand } from "./testing/drift.ts";
import { KubernetesPlace, nobodyImage } from "./testing/place.ts";

const { missing, kubeconfig } = inject("cluster");

describe.skipIf(missing !== undefined)(`changes by hand on Kubernetes${missing === undefined ? "" : ` (${missing})`}`, () => {
  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
  });
  changesByHand(() => KubernetesPlace.open(readFileSync(kubeconfig, "utf8")));
});
