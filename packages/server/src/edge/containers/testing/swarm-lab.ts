// An agent of containers over a Swarm of a test's own: it runs in the network of the manager's node.
import { startSwarm, type TestSwarm } from "../../../docker/testing/swarm.ts";
import { ContainersLab } from "./lab.ts";

/** Disposing of the lab ends the swarm. */
export async function openSwarmLab(nodes: number): Promise<{ readonly lab: ContainersLab; readonly swarm: TestSwarm }> {
  const swarm = await startSwarm(nodes);
  const { manager, pool } = swarm;
  const lab = await ContainersLab.over({
    daemon: {
      endpoint: manager.endpoint,
      url: manager.url,
      log: () => manager.log(),
      reboot: () => Promise.reject(new Error("a node of a swarm is not rebooted here")),
      [Symbol.asyncDispose]: () => swarm[Symbol.asyncDispose](),
    },
    networks: { base: pool, size: 24 },
    swarm: true,
    inside: manager.inside,
  });
  return { lab, swarm };
}
