// A daemon of a test's own with an agent of containers, a collector and the engine over both. Everything that it started is gone afterwards.
import { createHash } from "node:crypto";
import { createReadStream, mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { importImage } from "../../../builders/bases/import.ts";
import { debianTar } from "../../../builders/testing/debian.ts";
import type { RegistryLogin } from "../../../core/image/reference.ts";
import { DockerApi } from "../../../docker/api.ts";
import { startDockerd, startPodman, type TestDaemon } from "../../../docker/testing/daemon.ts";
import { DockerEngine } from "../../../engines/docker/engine.ts";
import type { Fence, Instance, Ref, TrackTarget, Workload } from "../../../engines/engine.ts";
import { AgentProcesses, until } from "../../testing/agent-processes.ts";

const entries = {
  agent: fileURLToPath(new URL("../main.ts", import.meta.url)),
  collector: fileURLToPath(new URL("../../collector/main.ts", import.meta.url)),
};
export const never = new AbortController().signal;
export const installation = "lab";

/** Answers `hello` to every request on PORT; Debian's essential packages have no other server. */
export const perlServer = `use IO::Socket::INET; $| = 1; $SIG{TERM} = sub { exit 0 };
my $s = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 64, ReuseAddr => 1) or die "cannot listen: $!";
print "listening on $ENV{PORT}\\n";
while (my $c = $s->accept) { my $l = <$c>; while (my $h = <$c>) { last if $h =~ /^\\r?$/ } print $c "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nhello"; close $c }`;

export class ContainersLab implements AsyncDisposable {
  readonly home: string;
  readonly daemon: TestDaemon;
  readonly api: DockerApi;
  readonly engine: DockerEngine;
  readonly processes: AgentProcesses;
  /** Debian, by its id. */
  readonly image: string;
  /** Credentials of registries, by host. */
  readonly logins = new Map<string, RegistryLogin & { readonly readable: boolean }>();
  #generation = 0;

  private constructor(home: string, daemon: TestDaemon, api: DockerApi, image: string) {
    this.home = home;
    this.daemon = daemon;
    this.api = api;
    this.image = image;
    this.engine = new DockerEngine({
      agentSocket: join(home, "run", "agent.sock"),
      logsSocket: join(home, "run", "logs.sock"),
      cluster: "docker",
      login: (registry) => Promise.resolve(this.logins.get(registry)),
    });
    this.processes = new AgentProcesses(home, entries);
  }

  static async open(kind: "docker" | "podman"): Promise<ContainersLab> {
    const daemon = await (kind === "docker" ? startDockerd() : startPodman());
    const api = new DockerApi(daemon.endpoint);
    const home = await mkdtemp(join(tmpdir(), "berth-lab-"));
    try {
      const image = await importImage(api, createReadStream(await debianTar()), { reference: "berth-test/debian:lab" });
      mkdirSync(join(home, "run"));
      const lab = new ContainersLab(home, daemon, api, image);
      lab.configure();
      await lab.upAgent();
      await lab.processes.up("collector");
      return lab;
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Writes the edge's config file. */
  configure(agent: Readonly<Record<string, unknown>> = {}): void {
    const networks = { base: this.daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17"), size: 25 };
    writeFileSync(
      join(this.home, "edge.json"),
      JSON.stringify({
        home: this.home,
        runDir: join(this.home, "run"),
        installation,
        agent: { docker: this.daemon.url, networks, ...agent },
      }),
    );
  }

  /** Starts the agent, and returns when it knows what the daemon has. */
  async upAgent(): Promise<void> {
    await this.processes.up("agent");
    await until(async () => (await this.engine.capabilities(never)).reachable, "the agent knows its daemon");
  }

  fence(generation: number = (this.#generation += 1), epoch = 1): Fence {
    return { installation, epoch, generation };
  }

  workload(over: Partial<Workload> = {}): Workload {
    return {
      ref: { stack: "shop", component: "web" },
      stackId: "stack-1",
      kind: "web",
      releaseHash: `sha256:${createHash("sha256")
        .update(this.image + JSON.stringify(over))
        .digest("hex")}`,
      releaseNumber: 1,
      artifact: { kind: "image", reference: this.image },
      command: { exec: ["perl", "-e", perlServer] },
      workdir: ".",
      artifactEnv: {},
      env: {},
      secretValues: [],
      ports: [],
      volumes: [],
      resources: {},
      probes: {},
      restart: "always",
      gracePeriod: 2_000,
      securityProfile: "restricted",
      tools: [],
      ...over,
    };
  }

  /** Prepares and ensures. */
  async run(workload: Workload, over: Partial<TrackTarget> = {}): Promise<void> {
    const fence = this.fence();
    await this.engine.prepare(workload, fence, never);
    await this.engine.ensure({ ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1, ...over }, fence, never);
  }

  async instances(ref: Ref = { stack: "shop", component: "web" }): Promise<readonly Instance[]> {
    return (await this.engine.observe(ref, never))?.instances ?? [];
  }

  /** The only instance, once the condition holds. */
  async instance(condition: (instance: Instance) => boolean, label: string, timeout?: number, ref?: Ref): Promise<Instance> {
    let last: Instance | undefined;
    return until(
      async () => {
        [last] = await this.instances(ref);
        return last !== undefined && condition(last) ? last : undefined;
      },
      label,
      timeout,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}; last seen: ${JSON.stringify(last)}; ${this.processes.complaints}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.processes.kill("agent");
    await this.processes.kill("collector");
    await this.engine.close();
    this.api.close();
    await this.daemon[Symbol.asyncDispose]();
    await rm(this.home, { recursive: true, force: true, maxRetries: 5 });
  }
}
