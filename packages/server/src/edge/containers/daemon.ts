// The Docker daemon as the agent of containers uses it: typed calls, absence as an answer, and nothing of what the containers are for.
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import { label, type ContainerOrder } from "../../engines/docker/labels.ts";
import { containerBody, containerName } from "../../engines/docker/container.ts";

export interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly RestartCount: number;
  readonly Config: { readonly Labels: Readonly<Record<string, string>> | null; readonly Env: readonly string[] | null };
  readonly State: {
    readonly Status: string;
    readonly Running: boolean;
    readonly Restarting: boolean;
    readonly OOMKilled: boolean;
    readonly ExitCode: number;
    readonly Error: string;
    /** RFC 3339; the year 1 when it was never started. */
    readonly StartedAt: string;
    readonly FinishedAt: string;
    readonly Pid: number;
  };
  /** It runs, but is about to be ended by the place itself, which starts it again elsewhere. */
  readonly leaving?: boolean;
  /** Why the place does not get the next run started. */
  readonly refused?: string;
}

export interface DaemonEvent {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
  /** Unix ns; absent from podman's older versions. */
  readonly timeNano?: number;
  readonly time?: number;
}

export interface DaemonInfo {
  readonly version: string;
  /** `docker` or `podman`. */
  readonly name: string;
  readonly limits: { readonly memory: boolean; readonly cpu: boolean; readonly processes: boolean };
  /** Whether it can make services, where it is asked to. */
  readonly manager?: boolean;
}

interface Info {
  readonly ServerVersion?: string;
  readonly MemoryLimit?: boolean;
  readonly CpuCfsQuota?: boolean;
  readonly PidsLimit?: boolean;
}

export interface Stats {
  readonly cpu_stats?: { readonly cpu_usage?: { readonly total_usage?: number } };
  readonly memory_stats?: { readonly usage?: number; readonly stats?: Readonly<Record<string, number>> };
  readonly pids_stats?: { readonly current?: number };
}

export interface Network {
  readonly Id: string;
  readonly Name: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly IPAM: { readonly Config?: readonly { readonly Subnet?: string; readonly Gateway?: string }[] | null };
}

export interface Image {
  readonly Id: string;
  readonly Architecture: string;
  /** bytes */ readonly Size: number;
  readonly RepoDigests?: readonly string[] | null;
}

export interface Volume {
  readonly Name: string;
  /** Where the daemon has its content, on its own machine. */ readonly Mountpoint?: string;
  /** In the answer to `/system/df`; -1 = not known. */
  readonly UsageData?: { readonly Size: number } | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

export class Daemon {
  readonly api: DockerApi;
  readonly installation: string;
  /** Whether it can give a container a small first process; believed until it says otherwise. */
  #hasInit = true;

  /** How networks of stacks are made: on this machine alone. */
  readonly networkKind: "bridge" | "overlay" = "bridge";
  /** Credentials with which an image was fetched here, where other nodes need them too. */
  remember(_image: string, _login: { readonly host: string; readonly username: string; readonly password: string } | undefined): void {}
  /** What has to be gone before a stack's network can go. */
  async clearNetwork(_stackId: string): Promise<void> {}
  /** Sees that components of the stack reach one of them by its name, at the edge's address for it. */
  async openDoor(_of: { readonly stackId: string; readonly stack: string; readonly component: string }, _address: string): Promise<void> {}
  /** How the collector finds the output of what `create` made. */
  readonly outputOf: "container" | "service" = "container";

  constructor(api: DockerApi, installation: string) {
    this.api = api;
    this.installation = installation;
  }

  async info(signal?: AbortSignal): Promise<DaemonInfo> {
    const info = await this.api.json<Info>("GET", "/info", { signal });
    const version = await this.api.json<{ readonly Components?: readonly { readonly Name: string }[] }>("GET", "/version", { signal });
    return {
      name: version.Components?.some((one) => /podman/i.test(one.Name)) === true ? "podman" : "docker",
      version: info.ServerVersion ?? "",
      limits: { memory: info.MemoryLimit === true, cpu: info.CpuCfsQuota === true, processes: info.PidsLimit === true },
    };
  }

  /** All containers of this installation: id -> `running`, `exited`, ... */
  async list(): Promise<ReadonlyMap<string, string>> {
    const all = await this.api.json<readonly { readonly Id: string; readonly State: string }[]>("GET", "/containers/json", {
      query: { all: true, filters: this.#own() },
    });
    return new Map(all.map((one) => [one.Id, one.State]));
  }

  /** undefined: there is none. */
  inspect(id: string): Promise<Inspected | undefined> {
    return orAbsent(this.api.json<Inspected>("GET", `/containers/${id}/json`));
  }

  /** Makes its container, which does not run yet, and returns the daemon's id for it. `hosts`: the host's file that it sees as /etc/hosts. */
  async create(order: ContainerOrder, hosts: string): Promise<string> {
    const traits = { init: this.#hasInit, hosts };
    const call = this.api.json<{ readonly Id: string }>("POST", "/containers/create", {
      query: { name: containerName(order) },
      body: containerBody(order, traits),
    });
    try {
      return (await call).Id;
    } catch (error) {
      // podman needs a package of its own for that, and says only now that it is not there.
      if (!traits.init || !(error instanceof DockerError) || !/init binary|catatonit|docker-init/.test(error.message)) throw error;
      this.#hasInit = false;
      return this.create(order, hosts);
    }
  }

  /** Does nothing to one that runs. */
  async start(id: string): Promise<void> {
    await this.api.json("POST", `/containers/${id}/start`);
  }

  /** Returns when it has ended, by SIGKILL after `seconds` at the latest. Absent, or ended before = success. */
  async stop(id: string, seconds: number): Promise<void> {
    await orAbsent(this.api.json("POST", `/containers/${id}/stop`, { query: { t: seconds }, timeout: (seconds + 60) * 1_000 }));
  }

  async restart(id: string, seconds: number): Promise<void> {
    await this.api.json("POST", `/containers/${id}/restart`, { query: { t: seconds }, timeout: (seconds + 60) * 1_000 });
  }

  /** One that does not run is left as it is. */
  async kill(id: string, signal: string): Promise<void> {
    try {
      await this.api.json("POST", `/containers/${id}/kill`, { query: { signal } });
    } catch (error) {
      // 409: it does not run; podman says 500 for that.
      if (
        error instanceof DockerError &&
        ([404, 409].includes(error.status) || /not running|not in running state|can only kill/i.test(error.message))
      )
        return;
      throw error;
    }
  }

  /** With its anonymous volumes; absent = success. */
  async remove(id: string): Promise<void> {
    try {
      await orAbsent(this.api.json("DELETE", `/containers/${id}`, { query: { force: true, v: true } }));
    } catch (error) {
      // Somebody else is removing it just now.
      if (error instanceof DockerError && error.status === 409 && /already in progress/.test(error.message)) return;
      throw error;
    }
  }

  /** What happens to containers of this installation from now on. Ends with the signal or with the connection. */
  async *events(signal: AbortSignal): AsyncGenerator<DaemonEvent> {
    const filters = JSON.stringify({ type: ["container"], label: [`${label.installation}=${this.installation}`] });
    const stream = await this.api.stream("GET", "/events", { query: { filters }, signal, timeout: Infinity });
    yield* readNdjson<DaemonEvent>(stream);
  }

  async createExec(id: string, body: object, signal: AbortSignal): Promise<string> {
    return (await this.api.json<{ readonly Id: string }>("POST", `/containers/${id}/exec`, { body, signal })).Id;
  }

  startExec(exec: string, tty: boolean, signal: AbortSignal): Promise<Duplex> {
    return this.api.hijack(`/exec/${exec}/start`, { Detach: false, Tty: tty }, signal);
  }

  async resizeExec(exec: string, columns: number, rows: number): Promise<void> {
    await this.api.json("POST", `/exec/${exec}/resize`, { query: { w: columns, h: rows } });
  }

  inspectExec(exec: string): Promise<{ readonly Running: boolean; readonly ExitCode: number | null; readonly Pid: number }> {
    return this.api.json("GET", `/exec/${exec}/json`);
  }

  networks(): Promise<Network[]> {
    return this.api.json<Network[]>("GET", "/networks");
  }

  async createNetwork(body: object): Promise<void> {
    await this.api.json("POST", "/networks/create", { body });
  }

  async removeNetwork(name: string): Promise<void> {
    await orAbsent(this.api.json("DELETE", `/networks/${name}`));
  }

  /** Of a stack, with what they hold as far as the daemon says so. */
  async volumeSizes(stackId: string): Promise<{ readonly volume: string; readonly bytes: number }[]> {
    const filters = JSON.stringify({ label: [`${label.installation}=${this.installation}`, `${label.stackId}=${stackId}`] });
    const { Volumes } = await this.api.json<{ readonly Volumes: readonly Volume[] | null }>("GET", "/volumes", { query: { filters } });
    if (Volumes === null || Volumes.length === 0) return [];
    const sizes = await this.#sizes();
    return Volumes.flatMap((one) => {
      const volume = one.Labels?.[label.volume];
      return volume === undefined ? [] : [{ volume, bytes: Math.max(0, sizes.get(one.Name) ?? 0) }];
    });
  }

  /** Walks through everything that the daemon has, so it is not asked for nothing. podman gives up when something is removed meanwhile, and is asked again. */
  async #sizes(): Promise<ReadonlyMap<string, number>> {
    for (let left = 3; ; left -= 1)
      try {
        const query = { type: "volume" };
        const used = await this.api.json<{ readonly Volumes?: readonly Volume[] | null }>("GET", "/system/df", { query });
        return new Map((used.Volumes ?? []).map((one) => [one.Name, one.UsageData?.Size ?? 0]));
      } catch (error) {
        if (left === 0 || !(error instanceof DockerError)) throw error;
        await sleep(200);
      }
  }

  /** What it uses now; undefined when it is not there, or out of reach. */
  stats(id: string): Promise<Stats | undefined> {
    return orAbsent(this.api.json<Stats>("GET", `/containers/${id}/stats`, { query: { stream: false, "one-shot": true } }));
  }

  volume(name: string): Promise<Volume | undefined> {
    return orAbsent(this.api.json<Volume>("GET", `/volumes/${name}`));
  }

  async createVolume(name: string, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.api.json("POST", "/volumes/create", { body: { Name: name, Labels: labels } });
  }

  async removeVolume(name: string): Promise<void> {
    await orAbsent(this.api.json("DELETE", `/volumes/${name}`));
  }

  image(reference: string): Promise<Image | undefined> {
    return orAbsent(this.api.json<Image>("GET", `/images/${encodePath(reference)}/json`));
  }

  #own(): string {
    return JSON.stringify({ label: [`${label.installation}=${this.installation}`, label.role] });
  }
}

/** A name of an image within a path: its slashes are the path's own. */
export const encodePath = (name: string): string =>
  encodeURIComponent(name).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%40", "@");

/** undefined for what is not there. */
export async function orAbsent<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return undefined;
    throw error;
  }
}
