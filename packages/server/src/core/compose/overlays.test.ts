// `x-berth.kubernetes` as it is read: somebody else's words, taken as they are, with variables filled in and what says nothing left out.
import { expect, it } from "vitest";
import { line, problemsOf, service, specOf } from "./project.testkit.ts";

it("takes values as they are written, fills in variables, and leaves out what is null", () => {
  const { kubernetes } = specOf({
    ...service(`x-berth:
  kubernetes:
    Deployment:
      spec:
        minReadySeconds: 3
        template:
          spec:
            # In Berth's words these would be durations and ports.
            timeout: 30s
            port: "8080"
            nodeName:
            nodeSelector: { disk: "\${DISK:-slow}", zone: ~ }
            tolerations: [{ key: gpu, tolerationSeconds: 60 }, null]
            affinity: { $patch: delete }
    Service: { metadata: { annotations: { price: "$$5" } } }`),
    shell: { DISK: "fast" },
  });
  expect(kubernetes).toEqual({
    Deployment: {
      spec: {
        minReadySeconds: 3,
        template: {
          spec: {
            timeout: "30s",
            port: "8080",
            nodeSelector: { disk: "fast" },
            tolerations: [{ key: "gpu", tolerationSeconds: 60 }],
            affinity: { $patch: "delete" },
          },
        },
      },
    },
    Service: { metadata: { annotations: { price: "$5" } } },
  });
});

it("is part of no definition that does not have it", () => {
  expect(specOf(service("x-berth: { kind: worker }"))).not.toHaveProperty("kubernetes");
});

it("is refused where it stands, with the kinds that there are", () => {
  const [unknown] = problemsOf(service("x-berth:\n  kubernetes:\n    DaemonSet: {}")).map(line);
  expect(unknown).toMatch(/^compose\.yaml:\d+:\d+ compose_invalid a x-berth\.kubernetes.*DaemonSet.*PodDisruptionBudget/);
  const [scalar] = problemsOf(service("x-berth:\n  kubernetes:\n    Service: LoadBalancer")).map(line);
  expect(scalar).toMatch(/^compose\.yaml:6:\d+ compose_invalid a x-berth\.kubernetes\.Service/);
});
