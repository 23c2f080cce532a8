// A cluster that another node drives, as a server sees it that cannot reach it: every question about what runs there is answered with where to ask.
import { BerthError } from "../core/errors.ts";
import type { Capabilities, Engine, InstanceRecord, LogLine, Observed, Session, TaskState, Usage, VolumePort } from "./engine.ts";
import type { Applied, ProbeAnswer, Traffic, TrafficEntry } from "./traffic.ts";

/** `server`: where the node's server is, in words or as its URL. */
export function elsewhere(cluster: string, server: string): BerthError {
  return new BerthError("other_server", { cluster, server });
}

export class AwayEngine implements Engine {
  readonly kind = "local";
  readonly #refusal: () => BerthError;
  readonly #notice: Capabilities["notices"][number];
  readonly volumes: VolumePort;

  constructor(cluster: string, server: string) {
    this.#refusal = () => elsewhere(cluster, server);
    this.#notice = { code: "other_server", params: { cluster, server } };
    this.volumes = {
      list: () => this.#refuse(),
      remove: () => this.#refuse(),
      snapshot: () => this.#refuse(),
      restore: () => this.#refuse(),
    };
  }

  #refuse(): Promise<never> {
    return Promise.reject(this.#refusal());
  }
  // eslint-disable-next-line require-yield
  async *#refuseStream(): AsyncGenerator<never> {
    await Promise.resolve();
    throw this.#refusal();
  }

  capabilities(): Promise<Capabilities> {
    return Promise.resolve({
      reachable: false,
      version: "",
      isolation: ["none"],
      tcp: true,
      weights: true,
      volumes: "env",
      limits: { memory: false, cpu: false, processes: false },
      notices: [this.#notice],
    });
  }
  render(): { readonly name: string; readonly body: unknown }[] {
    throw this.#refusal();
  }
  prepare(): Promise<void> {
    return this.#refuse();
  }
  ensure(): Promise<void> {
    return this.#refuse();
  }
  stop(): Promise<void> {
    return this.#refuse();
  }
  remove(): Promise<void> {
    return this.#refuse();
  }
  forgetComponent(): Promise<boolean> {
    return this.#refuse();
  }
  observe(): Promise<Observed | undefined> {
    return this.#refuse();
  }
  list(): AsyncIterable<Observed> {
    return this.#refuseStream();
  }
  foreign(): Promise<never> {
    return this.#refuse();
  }
  takeIn(): Promise<void> {
    return this.#refuse();
  }
  records(): AsyncIterable<InstanceRecord> {
    return this.#refuseStream();
  }
  raiseEpoch(): Promise<void> {
    return this.#refuse();
  }
  logs(): AsyncIterable<LogLine> {
    return this.#refuseStream();
  }
  exec(): Promise<Session> {
    return this.#refuse();
  }
  forward(): Promise<never> {
    return this.#refuse();
  }
  startTask(): Promise<void> {
    return this.#refuse();
  }
  task(): Promise<TaskState | undefined> {
    return this.#refuse();
  }
  cancelTask(): Promise<void> {
    return this.#refuse();
  }
  taskLogs(): AsyncIterable<LogLine> {
    return this.#refuseStream();
  }
  usage(): Promise<Usage[]> {
    return this.#refuse();
  }
  forget(): Promise<boolean> {
    return this.#refuse();
  }
}

export class AwayTraffic implements Traffic {
  readonly #refusal: () => BerthError;
  readonly publicUrl: (host: string, path: string) => string;

  constructor(cluster: string, server: string, router: { readonly host: string; readonly port: number }) {
    this.#refusal = () => elsewhere(cluster, server);
    this.publicUrl = (host, path) => `http://${host}${router.port === 80 ? "" : `:${router.port}`}${path}`;
  }

  #refuse(): Promise<never> {
    return Promise.reject(this.#refusal());
  }
  apply(): Promise<void> {
    return this.#refuse();
  }
  remove(): Promise<void> {
    return this.#refuse();
  }
  applied(): Promise<Applied> {
    return this.#refuse();
  }
  list(): Promise<never> {
    return this.#refuse();
  }
  readEntry(): Promise<TrafficEntry | undefined> {
    return this.#refuse();
  }
  raiseEpoch(): Promise<void> {
    return this.#refuse();
  }
  setCertificates(): Promise<void> {
    return this.#refuse();
  }
  setProof(): Promise<void> {
    return this.#refuse();
  }
  removeProof(): Promise<void> {
    return this.#refuse();
  }
  probe(): Promise<ProbeAnswer> {
    return this.#refuse();
  }
}
