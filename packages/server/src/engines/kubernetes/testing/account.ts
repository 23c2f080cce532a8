// The account that `berth clusters rbac` prints, made in the test cluster as its text says: what is printed is applied, and the lines of its comment are run.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { stackRole } from "@berth/contract/clusterrights.ts";
import { kubectl } from "../../../../../../tools/cluster/kube.ts";
import { program } from "../../../../../../tools/cluster/programs.ts";
import { KubeApi } from "../../../kubernetes/api.ts";
import { accessOf } from "./place.ts";

const run = promisify(execFile);
const cli = join(import.meta.dirname, "../../../../../cli/src/main.ts");

export interface PrintedAccount extends AsyncDisposable {
  readonly namespace: string;
  readonly account: string;
  /** As the API server knows it. */
  readonly user: string;
  /** With the account's token. */
  readonly kubeconfig: string;
}

/** `admin`: path of the kubeconfig of who applies it; `more`: arguments of the command. The roles stay: each account of the cluster has the same ones. */
export async function makeAccount(admin: string, more: readonly string[] = []): Promise<PrintedAccount> {
  const names = { namespace: `rights-${randomBytes(3).toString("hex")}`, account: "berth" };
  const user = `system:serviceaccount:${names.namespace}:${names.account}`;
  const { stdout: text } = await run(process.execPath, [cli, "clusters", "rbac", "--namespace", names.namespace, ...more]);
  await kubectl(["apply", "-f", "-"], { input: text });
  const folder = await mkdtemp(join(tmpdir(), "berth-rights-"));
  try {
    const lines = text.split("\n").filter((line) => line.startsWith("# kubectl "));
    const path = [dirname(await program("kubernetes", "kubectl")), process.env["PATH"] ?? ""].join(delimiter);
    for (const line of lines)
      await run("/bin/sh", ["-ec", line.slice(2)], { cwd: folder, env: { ...process.env, PATH: path, KUBECONFIG: admin } });
    const kubeconfig = await readFile(join(folder, "berth.kubeconfig"), "utf8");
    await policyHolds(kubeconfig, { namespace: names.namespace, name: names.account });
    return {
      ...names,
      user,
      kubeconfig,
      async [Symbol.asyncDispose]() {
        await kubectl(["delete", "-f", "-", "--ignore-not-found", "--wait=false"], { input: ownOf(text) });
      },
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Without what other accounts have too. */
const ownOf = (text: string): string =>
  text
    .split("---\n")
    .filter(
      (one) => !/^kind: (ClusterRole|Role)$/m.test(one) && !/^kind: Namespace\nmetadata:\n {2}name: berth-(system|-builder)$/m.test(one),
    )
    .join("---\n");

/** Binds the role of stacks, without doing it. Resolves with what the API server says against it; empty: nothing. */
export async function refusalToBind(
  api: KubeApi,
  namespace: string,
  subject: { readonly namespace: string; readonly name: string },
): Promise<string> {
  const group = "rbac.authorization.k8s.io";
  const binding = {
    apiVersion: `${group}/v1`,
    kind: "RoleBinding",
    metadata: { namespace, name: stackRole },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: stackRole },
    subjects: [{ kind: "ServiceAccount", ...subject }],
  };
  return api.apply(binding, { force: true, dryRun: true }).then(
    () => "",
    (error: unknown) => (error as Error).message,
  );
}

/** The API server hears of a policy a little after it is made. */
async function policyHolds(kubeconfig: string, subject: { readonly namespace: string; readonly name: string }): Promise<void> {
  const api = new KubeApi(accessOf(kubeconfig));
  try {
    for (const end = performance.now() + 120_000; performance.now() < end; await sleep(100))
      if ((await refusalToBind(api, "default", subject)).includes("ValidatingAdmissionPolicy")) return;
    throw new Error("the policy does not hold after two minutes");
  } finally {
    await api.close();
  }
}
