// The programs of the cluster that are compiled from Go modules, by version. Every version here was built and run together with the others.
import { compileModule, goModuleMissing, uncompiled, type GoModule } from "../../packages/server/src/os/testing/go.ts";
import { join } from "node:path";

export const kubernetesVersion = "1.36.2";
const [major = "", minor = ""] = kubernetesVersion.split(".");

/** Kubernetes pins its own parts by folders of its repository; as modules they carry its version with another first number. */
function stagedParts(goMod: string): string[] {
  const parts = [...goMod.matchAll(/^\s+(k8s\.io\/[a-z0-9-]+) => \.\/staging/gm)].map(([, part = ""]) => part);
  return parts.map((part) => `-replace=${part}=${part}@v0.${kubernetesVersion.slice(major.length + 1)}`);
}

const command = (name: string): [string, string] => [name, `k8s.io/kubernetes/cmd/${name}`];

const modules = {
  kubernetes: {
    name: "kubernetes",
    version: kubernetesVersion,
    path: "k8s.io/kubernetes",
    programs: Object.fromEntries(
      ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet", "kube-proxy"].map(command),
    ),
    edits: stagedParts,
    ldflags: ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((where) => [
      ...["-X", `${where}.gitVersion=v${kubernetesVersion}`, "-X", `${where}.gitMajor=${major}`, "-X", `${where}.gitMinor=${minor}`],
    ]),
  },
  etcd: { name: "etcd", version: "3.6.6", path: "go.etcd.io/etcd/server/v3", programs: { etcd: "go.etcd.io/etcd/server/v3" } },
  coredns: { name: "coredns", version: "1.12.4", path: "github.com/coredns/coredns", programs: { coredns: "github.com/coredns/coredns" } },
  metrics: {
    name: "metrics-server",
    version: "0.9.0",
    path: "sigs.k8s.io/metrics-server",
    programs: { "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server" },
  },
  traefik: {
    name: "traefik",
    version: "3.6.12",
    path: "github.com/traefik/traefik/v3",
    programs: { traefik: "github.com/traefik/traefik/v3/cmd/traefik" },
    edits: () => [
      "-replace=github.com/abbot/go-http-auth=github.com/containous/go-http-auth@v0.4.1-0.20200324110947-a37a7636d23e",
      "-replace=github.com/gorilla/mux=github.com/containous/mux@v0.0.0-20250523120546-41b6ec3aed59",
      "-replace=github.com/mailgun/minheap=github.com/containous/minheap@v0.0.0-20190809180810-6e71eb837595",
      "-exclude=github.com/tencentcloud/tencentcloud-sdk-go@v3.0.83+incompatible",
    ],
  },
  helm: { name: "helm", version: "3.21.4", path: "helm.sh/helm/v3", programs: { helm: "helm.sh/helm/v3/cmd/helm" } },
  kwok: { name: "kwok", version: "0.8.0", path: "sigs.k8s.io/kwok", programs: { kwok: "sigs.k8s.io/kwok/cmd/kwok" } },
} as const satisfies Readonly<Record<string, GoModule>>;

export type Module = keyof typeof modules;

/** Why one of them cannot be had here; undefined when all can. */
export function modulesMissing(names: readonly Module[]): string | undefined {
  return names.map((name) => goModuleMissing(modules[name])).find((why) => why !== undefined);
}

/** How many programs of them are still to be compiled. */
export function countUncompiled(names: readonly Module[]): number {
  return names.reduce((sum, name) => sum + uncompiled(modules[name]).length, 0);
}

/** Compiles what is missing; `onProgram` is told each one as it is begun. */
export async function compile(names: readonly Module[], onProgram: (name: string) => void): Promise<void> {
  for (const name of names) await compileModule(modules[name], onProgram);
}

/** The path of a program, which is compiled when it is not there. */
export async function program(module: Module, name: string): Promise<string> {
  return join(await compileModule(modules[module]), name);
}

/** Of a module whose sources are used beside its programs. */
export const kwokVersion: string = modules.kwok.version;
export const kwokPath: string = modules.kwok.path;
