// Images that nodes of a real cluster fetch.
import { readFileSync } from "node:fs";
import { describe, inject } from "vitest";
import { registryMissing } from "../../docker/testing/registry.ts";
import { imagesOfRegistries } from "./testing/images.ts";
import { KubernetesPlace } from "./testing/place.ts";

const cluster = inject("cluster");
const missing = cluster.missing ?? registryMissing();

describe.skipIf(missing !== undefined)(`images on Kubernetes${missing === undefined ? "" : ` (${missing})`}`, () => {
  imagesOfRegistries((registries) => KubernetesPlace.open(readFileSync(cluster.kubeconfig, "utf8"), { registries }));
});
