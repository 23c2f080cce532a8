// An agent of containers whose daemon is away says that, and nothing else: what it cannot see must not be taken for missing.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DockerEngine } from "../../engines/docker/engine.ts";
import { AgentProcesses, until } from "../testing/agent-processes.ts";
import { edgeProgram } from "../testing/programs.ts";

const never = new AbortController().signal;
const home = mkdtempSync(join(tmpdir(), "berth-away-"));
const ref = { stack: "shop", component: "web" };
const engine = new DockerEngine({
  agentSocket: join(home, "run", "agent.sock"),
  logsSocket: join(home, "run", "logs.sock"),
  cluster: "docker",
});
const processes = new AgentProcesses(home, { agent: edgeProgram("edge-containers"), collector: edgeProgram("edge-collector") });

beforeAll(async () => {
  mkdirSync(join(home, "run"));
  const agent = { docker: `unix://${join(home, "nobody.sock")}` };
  writeFileSync(join(home, "edge.json"), JSON.stringify({ home, runDir: join(home, "run"), installation: "away", agent }));
  await processes.up("agent");
});
afterAll(async () => {
  await processes.kill("agent");
  await engine.close();
  rmSync(home, { recursive: true });
});

it("names the daemon and why it cannot be reached, whatever is asked", async () => {
  const told = {
    retryable: true,
    failure: { code: "cluster_unreachable", params: { reason: expect.stringContaining("nobody.sock is not there") as string } },
  };
  await until(() => processes.complaints.includes("daemon away"), "it tried");
  await expect(engine.observe(ref, never)).rejects.toMatchObject(told);
  await expect(engine.stop(ref, ["web-abcdef"], 0, { installation: "away", epoch: 1, generation: 1 }, never)).rejects.toMatchObject(told);
  await expect(engine.task("some-task", never)).rejects.toMatchObject(told);
  expect(await engine.capabilities(never)).toMatchObject({ reachable: false, notices: [{ code: "cluster_unreachable" }] });
});
