// The autoscaler of a component as a cluster has it: each field of what is asked for reaches it, and it is read back as it was put, in whatever form the cluster writes amounts.
import { expect, it } from "vitest";
import type { Autoscaling } from "../engine.ts";
import { autoscalerOf, standingOf } from "./autoscaler.ts";
import { bytes, cores } from "../../core/quantity.ts";

const how: Autoscaling = { revision: { releaseHash: "sha256:0a", restart: 3 }, min: 2, max: 9, cpu: 350, memory: 80_000_000 };
const of = (over: Partial<Autoscaling> = {}) => autoscalerOf("inst", { stack: "shop", component: "web" }, "web--b", { ...how, ...over });

it("has every field of what was asked for, and aims at the Deployment that serves", () => {
  const others: Required<Autoscaling> = {
    revision: { releaseHash: "sha256:0b", restart: 3 },
    min: 1,
    max: 10,
    cpu: 351,
    memory: 80_000_001,
  };
  for (const [field, value] of Object.entries(others)) expect(JSON.stringify(of({ [field]: value })), field).not.toBe(JSON.stringify(of()));
  expect(JSON.stringify(of({ revision: { releaseHash: "sha256:0a", restart: 4 } }))).not.toBe(JSON.stringify(of()));
  expect(of()).toMatchObject({
    apiVersion: "autoscaling/v2",
    metadata: { namespace: "berth-shop", name: "web", labels: { "berth.stack": "shop", "berth.component": "web" } },
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web--b" },
      minReplicas: 2,
      maxReplicas: 9,
      metrics: [
        { resource: { name: "cpu", target: { type: "AverageValue", averageValue: "350m" } } },
        { resource: { name: "memory", target: { type: "AverageValue", averageValue: "80000000" } } },
      ],
    },
  });
});

it("is read back as it was put, also where the cluster writes its amounts otherwise", () => {
  expect(standingOf(of())).toEqual({ slot: "web--b", how });
  const { memory: _, ...byCpu } = how;
  expect(standingOf(autoscalerOf("inst", { stack: "shop", component: "web" }, "web--b", { ...byCpu, cpu: 1000 })).how).toEqual({
    ...byCpu,
    cpu: 1000,
  });
  const stored = JSON.parse(
    JSON.stringify(of({ cpu: 1000 }))
      .replace('"1000m"', '"1"')
      .replace('"80000000"', '"80M"'),
  ) as ReturnType<typeof of>;
  expect(standingOf(stored).how).toEqual({ ...how, cpu: 1000 });
});

it.each([
  ["250m", 0.25],
  ["1", 1],
  ["1.5", 1.5],
  ["12345n", 0.000012345],
  ["2k", 2_000],
])("takes %s for %d cores", (text, value) => {
  expect(cores(text)).toBeCloseTo(value, 12);
});
it.each([
  ["64Mi", 67_108_864],
  ["80M", 80_000_000],
  ["1e3", 1_000],
  ["1Gi", 1_073_741_824],
  ["", 0],
])("takes %s for %d bytes", (text, value) => {
  expect(bytes(text)).toBe(value);
});
