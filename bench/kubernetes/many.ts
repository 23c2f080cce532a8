// Many components released at once, by Berth and by kubectl: the same objects, in parallel, and how many requests each made of the API server to get there.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readKubeconfig } from "../../packages/server/src/core/kubeconfig.ts";
import { BadDays } from "../../packages/server/src/kubernetes/testing/proxy.ts";
import { call } from "../../tools/cluster/failed.ts";
import { kubectl } from "../../tools/cluster/kube.ts";
import { program } from "../../tools/cluster/programs.ts";
import { kubeconfig } from "../../tools/cluster/settings.ts";
import { inTurns, Pretended, type Size } from "./pretended.ts";

export interface ManyFound {
  /** ms until all are ready. */
  readonly berth: number;
  readonly kubectl: number;
  /** Requests to the API server meanwhile. */
  readonly berthAsked: number;
  readonly kubectlAsked: number;
}

/** What somebody who uses kubectl would write down: not what Berth keeps for itself. */
const kinds = "deployments,poddisruptionbudgets,secrets,networkpolicies";

/** Both through a door of the API server that counts: Berth's, and kubectl's own. Ends what it began. */
export class Many implements AsyncDisposable {
  readonly #door: BadDays;
  readonly #folder: string;
  readonly #place: Pretended;
  readonly #peers: string[] = [];

  private constructor(door: BadDays, folder: string, place: Pretended) {
    this.#door = door;
    this.#folder = folder;
    this.#place = place;
  }

  static async open(size: Size): Promise<Many> {
    const read = readKubeconfig(readFileSync(kubeconfig, "utf8"));
    if ("refusal" in read) throw new Error(read.refusal.reason);
    const door = await BadDays.open(read.config.access);
    const folder = mkdtempSync(join(tmpdir(), "berth-many-"));
    try {
      writeFileSync(join(folder, "kubeconfig"), door.kubeconfig(), { mode: 0o600 });
      // Each is there twice: Berth's, and its peer's.
      const place = await Pretended.open(2 * size.stacks * size.components * size.replicas, join(folder, "kubeconfig"));
      return new Many(door, folder, place);
    } catch (error) {
      await door[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async measure(size: Size, note: (text: string) => void): Promise<ManyFound> {
    // What a first release does once for a whole cluster, and what a process compiles when it first meets it.
    await this.#place.apply(await this.#place.plans({ ...size, stacks: 1 }), note);
    const plans = await this.#place.plans(size);
    const ours = await this.#counted(() => this.#place.apply(plans, note));
    note(`Berth: ${(ours.took / 1_000).toFixed(1)} s, ${String(ours.asked)} requests`);
    const files = await inTurns(
      plans.map(({ stack }) => stack),
      (stack) => this.#written(stack),
    );
    const theirs = await this.#counted(async () => {
      const from = performance.now();
      await inTurns(files, ({ file, namespace }) => this.#released(file, namespace), files.length);
      return performance.now() - from;
    });
    note(`kubectl: ${(theirs.took / 1_000).toFixed(1)} s, ${String(theirs.asked)} requests`);
    return { berth: ours.took, berthAsked: ours.asked, kubectl: theirs.took, kubectlAsked: theirs.asked };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#peers.length > 0) await kubectl(["delete", "namespace", ...this.#peers, "--ignore-not-found", "--timeout=600s"]);
    } finally {
      await this.#place[Symbol.asyncDispose]();
      await this.#door[Symbol.asyncDispose]();
      rmSync(this.#folder, { recursive: true, force: true });
    }
  }

  async #counted(run: () => Promise<number>): Promise<{ readonly took: number; readonly asked: number }> {
    const before = this.#door.met.passed;
    const took = await run();
    return { took, asked: this.#door.met.passed - before };
  }

  /** The objects that Berth made of a stack, in a file of their own and for a namespace of their own. */
  async #written(stack: string): Promise<{ readonly file: string; readonly namespace: string }> {
    const namespace = `peer-${stack}`;
    this.#peers.push(namespace);
    const { items } = JSON.parse(await kubectl(["-n", `berth-${stack}`, "get", kinds, "-o", "json"])) as { items: Made[] };
    const objects = items.map(({ apiVersion, kind, metadata, status: _status, ...rest }) => ({
      ...{ apiVersion, kind, ...rest },
      metadata: { name: metadata.name, namespace, ...(metadata.labels === undefined ? {} : { labels: metadata.labels }) },
    }));
    // No Berth is to take them for its own.
    const text = JSON.stringify({
      apiVersion: "v1",
      kind: "List",
      items: [{ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } }, ...objects],
    }).replaceAll('"berth.installation":', '"berth.test/installation":');
    const file = join(this.#folder, `${stack}.json`);
    writeFileSync(file, text);
    return { file, namespace };
  }

  async #released(file: string, namespace: string): Promise<void> {
    const asked = ["--kubeconfig", join(this.#folder, "kubeconfig")];
    const path = await program("kubernetes", "kubectl");
    await call(path, [...asked, "apply", "-f", file]);
    await call(path, [...asked, "-n", namespace, "wait", "deployment", "--all", "--for=condition=Available", "--timeout=900s"]);
  }
}

interface Made {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Record<string, string> };
  readonly status?: unknown;
}
