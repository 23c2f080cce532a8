// A daemon of a test's own with an agent of containers, a collector and the engine over both. Everything that it started is gone afterwards.
import { createReadStream, mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importImage } from "../../../builders/bases/import.ts";
import { debianTar } from "../../../builders/testing/debian.ts";
import type { RegistryLogin } from "../../../core/image/reference.ts";
import { DockerApi } from "../../../docker/api.ts";
import { startDockerd, startPodman, type TestDaemon } from "../../../docker/testing/daemon.ts";
import { DockerEngine } from "../../../engines/docker/engine.ts";
import { plainWorkload } from "../../../engines/conformance/workload.ts";
import type { Workload } from "../../../engines/engine.ts";
import { AgentProcesses, until as waited } from "../../testing/agent-processes.ts";
import { EngineLab, installation, never } from "../../testing/engine-lab.ts";
import { edgeProgram } from "../../testing/programs.ts";

const entries = { agent: edgeProgram("edge-containers"), collector: edgeProgram("edge-collector") };

/** Answers `hello` to every request on PORT; Debian's essential packages have no other server. */
export const perlServer = `use IO::Socket::INET; $| = 1; $SIG{TERM} = sub { exit 0 };
my $s = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 64, ReuseAddr => 1) or die "cannot listen: $!";
print "listening on $ENV{PORT}\\n";
while (my $c = $s->accept) { my $l = <$c>; while (my $h = <$c>) { last if $h =~ /^\\r?$/ } print $c "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nhello"; close $c }`;

/** As elsewhere, with the time that containers take on a machine that is busy with much else. */
export const until: typeof waited = (condition, label, timeout = 120_000) => waited(condition, label, timeout);

export interface LabPlace {
  readonly daemon: Pick<TestDaemon, "endpoint" | "url" | "log" | "reboot"> & AsyncDisposable;
  readonly networks: { readonly base: string; readonly size: number };
  readonly swarm?: boolean;
  /** What stands before the command lines of agent and collector. */
  readonly inside?: readonly string[];
}

export class ContainersLab extends EngineLab implements AsyncDisposable {
  protected override readonly patience = 120_000;
  readonly home: string;
  readonly daemon: LabPlace["daemon"];
  readonly api: DockerApi;
  readonly engine: DockerEngine;
  readonly processes: AgentProcesses;
  /** Debian, by its id. */
  readonly image: string;
  /** Credentials of registries, by host. */
  readonly logins = new Map<string, RegistryLogin & { readonly readable: boolean }>();

  readonly #place: LabPlace;

  private constructor(home: string, place: LabPlace, api: DockerApi, image: string) {
    super();
    const { daemon } = place;
    this.#place = place;
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
    this.processes = new AgentProcesses(home, entries, undefined, place.inside);
  }

  static async open(kind: "docker" | "podman"): Promise<ContainersLab> {
    const daemon = await (kind === "docker" ? startDockerd() : startPodman());
    return ContainersLab.over({ daemon, networks: { base: daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17"), size: 25 } });
  }

  /** Over a daemon that is there, which the lab ends. */
  static async over(place: LabPlace): Promise<ContainersLab> {
    const { daemon } = place;
    const api = new DockerApi(daemon.endpoint);
    const home = await mkdtemp(join(tmpdir(), "berth-lab-"));
    let lab: ContainersLab | undefined;
    try {
      const image = await importImage(api, createReadStream(await debianTar()), { reference: "berth-test/debian:lab" });
      mkdirSync(join(home, "run"));
      lab = new ContainersLab(home, place, api, image);
      lab.configure();
      await lab.upAgent();
      await lab.processes.up("collector");
      return lab;
    } catch (error) {
      if (lab !== undefined) await lab[Symbol.asyncDispose]();
      else await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  get complaints(): string {
    return this.processes.complaints;
  }

  /** Writes the edge's config file. */
  configure(agent: Readonly<Record<string, unknown>> = {}): void {
    const { networks, swarm = false } = this.#place;
    writeFileSync(
      join(this.home, "edge.json"),
      JSON.stringify({
        home: this.home,
        runDir: join(this.home, "run"),
        installation,
        agent: { docker: this.daemon.url, networks, swarm, ...agent },
      }),
    );
  }

  /** Starts the agent, and returns when it knows what the daemon has. */
  async upAgent(): Promise<void> {
    await this.processes.up("agent");
    await until(async () => (await this.engine.capabilities(never)).reachable, "the agent knows its daemon");
  }

  workload(over: Partial<Workload> = {}): Workload {
    return plainWorkload(
      this.image,
      { kind: "web", artifact: { kind: "image", reference: this.image }, command: { exec: ["perl", "-e", perlServer] } },
      over,
    );
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
