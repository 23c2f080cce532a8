// Where the edge, which is a program of its machine, meets the networks of a Swarm, which are not. Each component has a gate: a small container on its stack's network,
// on the edge's own node. Through it the edge reaches each instance at an address that stays, wherever Swarm runs it now; and the component's name leads to it, from every
// node, so that what its siblings ask comes out at the edge. What passes is the kernel's work: rules in the gate's own network, and a route to it here.
import { execFile } from "node:child_process";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { cause } from "@berth/contract/causes.ts";
import { label } from "../../../engines/docker/labels.ts";
import { gateName, networkName } from "../../../engines/docker/container.ts";
import { EngineFailure } from "../../../engines/engine.ts";
import { DockerError, isNameTaken } from "../../../docker/errors.ts";
import { errorText } from "../../agent/files.ts";
import { Turns } from "../../agent/turns.ts";
import { orAbsent, type Daemon } from "../daemon.ts";
import { runInContainer } from "../exec.ts";

export interface GateOf {
  readonly stackId: string;
  readonly stack: string;
  readonly component: string;
}

/** Which address that stays leads to which that does not; the latter is undefined while nothing runs. */
export type Ways = ReadonlyMap<string, string | undefined>;

interface Inside {
  readonly Id: string;
  readonly State: { readonly Running: boolean };
  readonly NetworkSettings: {
    readonly SandboxID: string;
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string } | undefined>>;
  };
}

interface Gate {
  readonly of: GateOf;
  ways: Ways;
  /** Where the edge stands for the component. */
  door: string | undefined;
  /** What its rules and the routes to it were made by. */
  applied: string;
  /** Its network, which is another one once its container was started again. */
  sandbox: string;
  /** Addresses that this machine has a route to through it, and where that is. */
  readonly routes: Map<string, string>;
}

/** Of folders of the host alone, which has what dockerd needs: `iptables` among it. */
const borrowed = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives"];
const image = "berth/gate:1";
/** Each node's own bridge from its containers on a Swarm's networks to the machine. */
const bridge = "docker_gwbridge";
/** ms */
const patience = 30_000;
/** ms between two looks at the gates themselves. */
const lookPeriod = 3_000;

const run = promisify(execFile);

export class Gates {
  readonly #daemon: Daemon;
  readonly #gates = new Map<string, Gate>();
  readonly #turns = new Turns();
  #nextLook = 0;

  /** `daemon`: of plain containers. */
  constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  /** Sees that the component has one, and that its name leads to `door` when that is given. Errors: EngineFailure (`stack_network_failed`). */
  async open(of: GateOf, door?: string): Promise<void> {
    const gate = this.#gate(of);
    gate.door = door ?? gate.door;
    await this.#apply(gate);
  }

  /** What leads where now: of every component, those of which nothing is left too. */
  async lead(all: ReadonlyMap<string, { readonly of: GateOf; readonly ways: Ways }>): Promise<void> {
    for (const [key, { of, ways }] of all) {
      const gate = this.#gate(of);
      gate.ways = ways;
      this.#gates.set(key, gate);
    }
    for (const [key, gate] of this.#gates) if (!all.has(key)) gate.ways = new Map();
    await this.#lookAtGates();
    // One that cannot be set up keeps no other waiting, and is tried again at the next look.
    const failed = await Promise.allSettled([...this.#gates.values()].map((gate) => this.#apply(gate)));
    const reason = failed.find((one) => one.status === "rejected");
    if (reason !== undefined) throw reason.reason;
  }

  /** One that was started again has a network without rules. */
  async #lookAtGates(): Promise<void> {
    if (performance.now() < this.#nextLook) return;
    this.#nextLook = performance.now() + lookPeriod;
    for (const gate of this.#gates.values()) {
      const name = gateName(this.#daemon.installation, gate.of.stackId, gate.of.component);
      const found = await orAbsent(this.#daemon.api.json<Inside>("GET", `/containers/${name}/json`));
      if (found?.State.Running !== true || found.NetworkSettings.SandboxID !== gate.sandbox) gate.applied = "";
    }
  }

  /** Has everything be looked at anew: the daemon, or a gate, was started again. */
  forgetApplied(): void {
    for (const gate of this.#gates.values()) gate.applied = "";
  }

  /** Takes the gates of a stack away. Absent = success. */
  async remove(stackId: string): Promise<void> {
    for (const [key, gate] of this.#gates) {
      if (gate.of.stackId !== stackId) continue;
      this.#gates.delete(key);
      await leaveRoutes(gate, () => true);
    }
    const filters = JSON.stringify({
      label: [`${label.installation}=${this.#daemon.installation}`, `${label.stackId}=${stackId}`, `${gateLabel}=gate`],
    });
    const all = await this.#daemon.api.json<readonly { readonly Id: string }[]>("GET", "/containers/json", {
      query: { all: true, filters },
    });
    await Promise.all(all.map(({ Id }) => this.#daemon.remove(Id)));
  }

  #gate(of: GateOf): Gate {
    const key = gateKey(of);
    const gate = this.#gates.get(key) ?? {
      of,
      ways: new Map(),
      door: undefined,
      applied: "",
      sandbox: "",
      routes: new Map<string, string>(),
    };
    this.#gates.set(key, gate);
    return gate;
  }

  #apply(gate: Gate): Promise<void> {
    const key = gateKey(gate.of);
    return this.#turns.take(key, async () => {
      if (this.#gates.get(key) !== gate || gate.applied === wanted(gate)) return;
      const asked = wanted(gate);
      try {
        const inside = await this.#container(gate.of);
        const { own, outer } = await this.#addresses(gate.of, inside);
        const rules = rulesOf(gate, own);
        const shell = 'printf "%s" "$1" | iptables-restore --wait 5';
        const { code, output } = await runInContainer(
          this.#daemon,
          inside.Id,
          { exec: ["/bin/sh", "-c", shell, "sh", rules] },
          AbortSignal.timeout(patience),
        );
        if (code !== 0) throw new Error(output.trim().split("\n").at(-1) ?? "its rules were not taken");
        for (const address of gate.ways.keys()) {
          await ip(["route", "replace", `${address}/32`, "via", outer, "dev", bridge]);
          gate.routes.set(address, outer);
        }
        await leaveRoutes(gate, (address) => !gate.ways.has(address));
        gate.sandbox = inside.NetworkSettings.SandboxID;
        gate.applied = asked;
      } catch (error) {
        throw new EngineFailure(cause("stack_network_failed", { reason: errorText(error).slice(0, 300) }), {
          retryable: true,
          cause: error,
        });
      }
    });
  }

  /** Its container, running. */
  async #container(of: GateOf): Promise<Inside> {
    const name = gateName(this.#daemon.installation, of.stackId, of.component);
    for (const until = performance.now() + patience; ;) {
      const found = await orAbsent(this.#daemon.api.json<Inside>("GET", `/containers/${name}/json`));
      if (found?.State.Running === true) return found;
      if (performance.now() > until) throw new Error(`the container ${name} does not come up`);
      if (found === undefined) await this.#create(name, of);
      else await this.#daemon.start(found.Id);
    }
  }

  async #create(name: string, { stackId, stack, component }: GateOf): Promise<void> {
    const network = networkName(this.#daemon.installation, stackId);
    if ((await this.#daemon.image(image)) === undefined)
      await buffer(
        await this.#daemon.api.stream("POST", "/images/create", {
          query: { fromSrc: "-", repo: "berth/gate", tag: "1" },
          // The end of an archive that has nothing in it.
          body: Buffer.alloc(1_024),
        }),
      );
    try {
      await this.#daemon.api.json("POST", "/containers/create", {
        query: { name },
        body: {
          Image: image,
          Cmd: ["/bin/sh", "-c", "exec sleep infinity"],
          Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
          Labels: {
            [label.installation]: this.#daemon.installation,
            [gateLabel]: "gate",
            [label.stack]: stack,
            [label.stackId]: stackId,
            [label.component]: component,
          },
          StopTimeout: 0,
          HostConfig: {
            NetworkMode: network,
            Binds: borrowed.map((path) => `${path}:${path}:ro`),
            CapDrop: ["ALL"],
            CapAdd: ["NET_ADMIN"],
            SecurityOpt: ["no-new-privileges"],
            Sysctls: { "net.ipv4.ip_forward": "1" },
            PidsLimit: 32,
            RestartPolicy: { Name: "always" },
            LogConfig: { Type: "none" },
          },
          NetworkingConfig: { EndpointsConfig: { [network]: { Aliases: [component] } } },
        },
      });
    } catch (error) {
      if (!isNameTaken(error)) throw error;
    }
  }

  /** `own`: on the stack's network. `outer`: where this machine reaches it. */
  async #addresses(of: GateOf, inside: Inside): Promise<{ readonly own: string; readonly outer: string }> {
    const own = inside.NetworkSettings.Networks[networkName(this.#daemon.installation, of.stackId)]?.IPAddress ?? "";
    const { Containers } = await this.#daemon.api.json<{
      readonly Containers: Readonly<Record<string, { readonly Name: string; readonly IPv4Address: string }>>;
    }>("GET", `/networks/${bridge}`);
    const outer = Containers[inside.Id]?.IPv4Address.split("/")[0] ?? "";
    if (own === "" || outer === "") throw new DockerError(500, `the gate of ${of.component} has no address yet`);
    return { own, outer };
  }
}

/** Under another name than `berth.role`, by which instances and tasks are found. */
const gateLabel = "berth.network";

export const gateKey = ({ stackId, component }: GateOf): string => `${stackId}/${component}`;

const wanted = ({ ways, door }: Gate): string => JSON.stringify([door, [...ways]]);

/** iptables-restore(8): a whole table at once, or none of it. What leads nowhere is refused at once, so that whoever asks can go elsewhere. */
function rulesOf({ ways, door }: Gate, own: string): string {
  const known = [...ways].flatMap(([from, to]) => (to === undefined ? [] : [`-A PREROUTING -d ${from} -j DNAT --to-destination ${to}`]));
  const unknown = [...ways].flatMap(([from]) => [`-A FORWARD -d ${from} -p tcp -j REJECT --reject-with tcp-reset`]);
  const inwards = door === undefined ? [] : [`-A PREROUTING -d ${own} -p tcp -j DNAT --to-destination ${door}`];
  return `${["*nat", ...known, ...inwards, "-A POSTROUTING -j MASQUERADE", "COMMIT", "*filter", ...unknown, "COMMIT"].join("\n")}\n`;
}

async function leaveRoutes({ routes }: Gate, isOver: (address: string) => boolean): Promise<void> {
  for (const [address, outer] of routes) {
    if (!isOver(address)) continue;
    routes.delete(address);
    // Another gate may have the address by now, and then this is not its route.
    await ip(["route", "del", `${address}/32`, "via", outer, "dev", bridge]).catch(() => undefined);
  }
}

async function ip(args: readonly string[]): Promise<void> {
  await run("ip", [...args], { env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }, timeout: 10_000 });
}
