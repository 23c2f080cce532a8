// What the tasks of a service tell about the instance that it is.
import { expect, it } from "vitest";
import { constraint } from "../../../engines/docker/service.ts";
import { addressOf, inspectedOf, type Service, type SwarmTask } from "./observed.ts";

const service = (constraints: readonly string[] = []): Service => ({
  ID: "s1",
  Version: { Index: 1 },
  CreatedAt: "2026-01-01T00:00:00Z",
  Spec: {
    Name: "shop-web-abcdef",
    Labels: { of: "it" },
    TaskTemplate: {
      ContainerSpec: { Env: ["A=b"] },
      RestartPolicy: { Condition: "any", Delay: 1 },
      Placement: { Constraints: constraints },
    },
    Mode: { Replicated: { Replicas: 1 } },
  },
});
let second = 0;
const task = (
  State: string,
  over: { readonly desired?: string; readonly err?: string; readonly code?: number; readonly ip?: string } = {},
): SwarmTask => {
  second += 1;
  return {
    ID: `t${String(second)}`,
    ServiceID: "s1",
    CreatedAt: new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString(),
    DesiredState: over.desired ?? "running",
    Spec: {},
    Status: {
      Timestamp: "2026-01-01T00:10:00Z",
      State,
      ...(over.err === undefined ? {} : { Err: over.err }),
      ...(State === "pending" ? {} : { ContainerStatus: { ContainerID: "c", ExitCode: over.code ?? 0 } }),
    },
    ...(over.ip === undefined ? {} : { NetworksAttachments: [{ Addresses: [`${over.ip}/24`] }] }),
  };
};

it("is on its way before it has any task", () => {
  expect(inspectedOf(service(), []).State).toMatchObject({ Status: "created", Running: false, Restarting: true });
});

it("runs since its task was made", () => {
  const one = task("running");
  expect(inspectedOf(service(), [one])).toMatchObject({ State: { Running: true, Restarting: false, StartedAt: one.CreatedAt } });
});

it("was ended with its exit code, and begins again", () => {
  const seen = inspectedOf(service(), [task("failed", { code: 3, err: "task: non-zero exit (3)" }), task("ready")]);
  expect(seen.State).toMatchObject({ Running: false, Restarting: true, ExitCode: 3 });
});

it("is about to leave when its node is drained, and says why it cannot begin elsewhere", () => {
  const seen = inspectedOf(service(), [task("running", { desired: "shutdown" }), task("pending", { err: "no suitable node" })]);
  expect(seen).toMatchObject({ leaving: true, refused: "no suitable node", State: { Running: true } });
});

it("is refused with the words of a task that could not be started", () => {
  const seen = inspectedOf(service(), [task("failed", { err: "starting container failed: no such file" }), task("ready")]);
  expect(seen).toMatchObject({ refused: "starting container failed: no such file", State: { Status: "created", Restarting: true } });
});

it("rests once it is stopped, though Swarm keeps a task for it", () => {
  const stopped = service([constraint.nowhere]);
  expect(inspectedOf(stopped, [task("shutdown", { code: 143 }), task("pending", { err: "no suitable node" })])).toMatchObject({
    State: { Running: false, Restarting: false, ExitCode: 143 },
  });
  expect(inspectedOf(stopped, [task("running", { desired: "shutdown" })]).leaving).toBeUndefined();
});

it("is reached where its newest task will be, and nowhere when there is none", () => {
  expect(addressOf([task("running", { desired: "shutdown", ip: "10.0.0.2" }), task("starting", { ip: "10.0.0.3" })])).toBe("10.0.0.3");
  expect(addressOf([task("running", { desired: "shutdown", ip: "10.0.0.2" })])).toBe("10.0.0.2");
  expect(addressOf([task("failed", { ip: "10.0.0.2" })])).toBeUndefined();
});
