// How the cluster's own commands and tests speak to it: kubectl, and plain requests as its administrator.
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { call } from "./failed.ts";
import { program } from "./programs.ts";
import { at, kubeconfig, nodeAddress, ports } from "./settings.ts";

/** What kubectl wrote. Errors: ClusterFailed `program_failed` with its words. */
export async function kubectl(args: readonly string[], options: { readonly input?: string } = {}): Promise<string> {
  return call(await program("kubernetes", "kubectl"), ["--kubeconfig", kubeconfig, ...args], options);
}

/** Applies manifests, as YAML or JSON, as one owner of fields. */
export async function apply(manifests: string): Promise<void> {
  await kubectl(["apply", "--server-side", "--force-conflicts", "--field-manager=berth-cluster", "-f", "-"], { input: manifests });
}

let agent: Agent | undefined;

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request as the administrator; rejects when there is no answer. `path` begins with a slash. */
export async function ask(method: string, path: string, body?: object, type = "application/json"): Promise<Answer> {
  const file = (name: string): Buffer => readFileSync(at("pki", name));
  agent ??= new Agent({ keepAlive: true, ca: file("ca.crt"), cert: file("admin.crt"), key: file("admin.key") });
  const content = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = content === undefined ? {} : { "content-type": type, "content-length": Buffer.byteLength(content) };
    const options = { host: nodeAddress, port: ports.api, method, path, agent, headers, timeout: 60_000 };
    const asked = request(options, (answer) => {
      const pieces: Buffer[] = [];
      answer.on("data", (piece: Buffer) => pieces.push(piece)).on("error", reject);
      answer.on("end", () => {
        resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(pieces).toString("utf8") });
      });
    });
    asked
      .on("error", reject)
      .on("timeout", () => asked.destroy(new Error("no answer within 60 s")))
      .end(content);
  });
}

/** An object or a list; undefined when there is none. Rejects with what the API server says otherwise. */
export async function read<T>(path: string): Promise<T | undefined> {
  const { status, text } = await ask("GET", path);
  if (status === 404) return undefined;
  if (status !== 200) throw new Error(`${path}: ${String(status)} ${text.slice(0, 500)}`);
  return JSON.parse(text) as T;
}
