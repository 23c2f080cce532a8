// The Kubernetes engine conforms, on a real cluster.
import { readFileSync } from "node:fs";
import { beforeAll, describe, inject } from "vitest";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { makeTarImage } from "../../../../../tools/cluster/tar-image.ts";
import { archives } from "../conformance/archives.ts";
import { autoscaling } from "../conformance/autoscaling.ts";
import { tasksAndQuestions } from "../conformance/calls.ts";
import { instancesAndOrders } from "../conformance/instances.ts";
import { whatIsKept } from "../conformance/kept.ts";
import { Lab } from "../conformance/lab.ts";
import { KubernetesPlace, nobodyImage, tarImage } from "./testing/place.ts";

const { missing, kubeconfig } = inject("cluster");

describe.skipIf(missing !== undefined)(`the Kubernetes engine${missing === undefined ? "" : ` (${missing})`}`, () => {
  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
    await loadImage(tarImage, await makeTarImage());
  });
  const lab = new Lab(() => KubernetesPlace.open(readFileSync(kubeconfig, "utf8")));
  instancesAndOrders(lab);
  autoscaling(lab);
  whatIsKept(lab);
  archives(lab);
  tasksAndQuestions(lab);
});
