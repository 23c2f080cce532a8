// What a template of pods says that Berth has no word of its own for: it goes along as an overlay, which is looked at like any other, so that nothing of it is lost with the next
// release unless somebody was told. Pure.
import type { Probe } from "@berth/contract/spec.ts";
import { isReserved } from "../overlay/kept.ts";
import { isTree, type Tree } from "../overlay/merge.ts";
import { bytes, cores } from "../quantity.ts";
import { note, type ForeignDeployment, type ImportNote } from "./foreign.ts";

/** Of a container: what Berth says itself, and what says nothing of a program that is named by its digest. */
const ownOfContainer: ReadonlySet<string> = new Set([
  "name",
  "image",
  "command",
  "args",
  "workingDir",
  "env",
  "envFrom",
  "ports",
  "livenessProbe",
  "readinessProbe",
  "startupProbe",
  "lifecycle",
  "imagePullPolicy",
  "terminationMessagePath",
  "terminationMessagePolicy",
]);
const ownOfPod: ReadonlySet<string> = new Set([
  "containers",
  "restartPolicy",
  "terminationGracePeriodSeconds",
  "automountServiceAccountToken",
]);
/** What the cluster writes where nobody said anything. */
const standard: Readonly<Record<string, unknown>> = {
  dnsPolicy: "ClusterFirst",
  schedulerName: "default-scheduler",
  enableServiceLinks: true,
  serviceAccount: "default",
  serviceAccountName: "default",
};

export interface ImportedTemplate {
  readonly overlay: Tree | undefined;
  readonly probes: { readonly startup?: Probe; readonly readiness?: Probe; readonly liveness?: Probe };
  readonly resources: { readonly memory?: number; readonly cpu?: number };
  readonly refusals: readonly ImportNote[];
  readonly remarks: readonly ImportNote[];
}

/** `env`: variables of the main container that are said in the cluster's own words. `ports`: name -> number of the main container's. */
export function templateOf(
  { spec: { template } }: ForeignDeployment,
  main: Tree & { readonly name: string },
  component: string,
  { env, ports, path }: { readonly env: readonly Tree[]; readonly ports: ReadonlyMap<string, number>; readonly path: string },
): ImportedTemplate {
  const refusals: ImportNote[] = [];
  const remarks: ImportNote[] = [];
  const probes = Object.entries({ startup: "startupProbe", readiness: "readinessProbe", liveness: "livenessProbe" } as const).map(
    ([kind, key]) => ({ kind, key, said: main[key], probe: isTree(main[key]) ? probeOf(main[key], ports) : undefined }),
  );
  const container = {
    name: component,
    ...without(main, ownOfContainer),
    ...(env.length === 0 ? {} : { env }),
    // One that Berth has no word for stands as it is, in place of Berth's own.
    ...Object.fromEntries(
      probes.flatMap(({ key, said, probe }) => (isTree(said) && probe === undefined ? [[key, { $patch: "replace", ...said }]] : [])),
    ),
    ...lifecycleOf(main, remarks, component),
  };
  const pod = template.spec;
  const beside = ((pod["containers"] ?? []) as readonly Tree[]).filter((one) => one !== main);
  const mounted = ((pod["volumes"] ?? []) as readonly Tree[]).filter((volume) => volume["persistentVolumeClaim"] !== undefined);
  for (const volume of mounted)
    refusals.push(
      note("import_field", {
        path: `spec.template.spec.volumes[${String(volume["name"])}].persistentVolumeClaim`,
        reason: "volumes cannot be imported yet: copy the content into a volume of a stack",
      }),
    );
  const spec = {
    ...without(pod, ownOfPod),
    ...(Object.keys(container).length === 1 && beside.length === 0
      ? {}
      : { containers: [...(Object.keys(container).length === 1 ? [] : [container]), ...beside] }),
  };
  const labels = marksOf(template.metadata?.labels);
  const annotations = marksOf(template.metadata?.annotations);
  const lost = Object.keys(template.metadata?.labels ?? {}).filter((key) => isReserved(key) && key !== "pod-template-hash");
  if (lost.length > 0) remarks.push(note("import_labels", { component, labels: lost.toSorted().join(", ") }));
  if (pod["automountServiceAccountToken"] !== false) remarks.push(note("import_hardened", { component }));
  const metadata = { ...(labels === undefined ? {} : { labels }), ...(annotations === undefined ? {} : { annotations }) };
  const whole = { ...(Object.keys(metadata).length === 0 ? {} : { metadata }), ...(Object.keys(spec).length === 0 ? {} : { spec }) };
  return {
    overlay: Object.keys(whole).length === 0 ? undefined : { spec: { template: whole } },
    probes: Object.fromEntries(probes.flatMap(({ kind, probe }) => (probe === undefined ? [] : [[kind, probe]]))),
    resources: limitsOf(main, `${path}.resources.limits`, refusals),
    refusals,
    remarks,
  };
}

/** Without what is Berth's to say, and without what says nothing. */
function without(tree: Tree, own: ReadonlySet<string>): Tree {
  return Object.fromEntries(
    Object.entries(tree).filter(([key, value]) => {
      const isEmpty = isTree(value) ? Object.keys(value).length === 0 : Array.isArray(value) && value.length === 0;
      return !own.has(key) && !isEmpty && value !== undefined && value !== null && standard[key] !== value;
    }),
  );
}

/** Labels or annotations that its next pods have as well: policies, budgets and monitors of others choose pods by them. */
function marksOf(all: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> | undefined {
  const kept = Object.entries(all).filter(([key]) => !isReserved(key) && key !== "kubectl.kubernetes.io/restartedAt");
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

/** A pause before SIGTERM is what Berth does by itself; anything else is said as it is, and refused as an overlay is. */
function lifecycleOf({ lifecycle }: Tree & { readonly lifecycle?: unknown }, remarks: ImportNote[], component: string): Tree {
  if (!isTree(lifecycle)) return {};
  const { preStop, ...rest } = lifecycle as { readonly preStop?: unknown } & Tree;
  const exec = isTree(preStop) && isTree(preStop["exec"]) ? (preStop["exec"]["command"] as readonly string[] | undefined) : undefined;
  const sleeps =
    isTree(preStop) && (preStop["sleep"] !== undefined || /^(?:(?:\/bin\/)?sh -c )?(?:\/bin\/)?sleep \d+s?$/.test(exec?.join(" ") ?? ""));
  if (sleeps) remarks.push(note("import_pause", { component }));
  const kept = { ...rest, ...(preStop === undefined || sleeps ? {} : { preStop }) };
  return Object.keys(kept).length === 0 ? {} : { lifecycle: kept };
}

function limitsOf(main: Tree, path: string, refusals: ImportNote[]): ImportedTemplate["resources"] {
  const limits = (main["resources"] as { readonly limits?: Readonly<Record<string, unknown>> } | undefined)?.limits ?? {};
  const [memory, cpu] = [limits["memory"], limits["cpu"]];
  const read = (key: string, value: unknown, by: (text: string) => number): number | undefined => {
    if (value === undefined) return undefined;
    const amount = by(String(value));
    if (amount > 0) return amount;
    refusals.push(note("import_field", { path: `${path}.${key}`, reason: `${String(value)} is no amount that Berth reads` }));
    return undefined;
  };
  const [most, share] = [read("memory", memory, bytes), read("cpu", cpu, cores)];
  return { ...(most === undefined ? {} : { memory: Math.round(most) }), ...(share === undefined ? {} : { cpu: share }) };
}

const probeKeys: ReadonlySet<string> = new Set([
  "httpGet",
  "tcpSocket",
  "exec",
  "initialDelaySeconds",
  "periodSeconds",
  "timeoutSeconds",
  "successThreshold",
  "failureThreshold",
]);

/** undefined: Berth has no word for it, such as a probe by gRPC. */
function probeOf(said: Tree, ports: ReadonlyMap<string, number>): Probe | undefined {
  const check = checkOf(said, ports);
  if (check === undefined || Object.keys(said).some((key) => !probeKeys.has(key))) return undefined;
  const ms = (key: string): number | undefined => (typeof said[key] === "number" ? said[key] * 1_000 : undefined);
  const times = (key: string): number | undefined => (typeof said[key] === "number" ? said[key] : undefined);
  return defined({
    check,
    initialDelay: ms("initialDelaySeconds"),
    period: ms("periodSeconds") ?? 10_000,
    timeout: ms("timeoutSeconds") ?? 1_000,
    successThreshold: times("successThreshold"),
    failureThreshold: times("failureThreshold") ?? 3,
  }) as unknown as Probe;
}

function checkOf(said: Tree, ports: ReadonlyMap<string, number>): Probe["check"] | undefined {
  const { httpGet, tcpSocket, exec } = said as Readonly<Record<string, Tree | undefined>>;
  const numberOf = (port: unknown): number | undefined => (typeof port === "number" ? port : ports.get(String(port)));
  if (httpGet !== undefined) {
    const { path = "/", port, scheme = "HTTP", host, httpHeaders = [] } = httpGet;
    const number = numberOf(port);
    const headers = (httpHeaders as readonly { readonly name: string; readonly value: string }[]).map(({ name, value }) => [name, value]);
    if (number === undefined || scheme !== "HTTP" || host !== undefined) return undefined;
    return {
      type: "http",
      path: String(path),
      port: number,
      ...(headers.length === 0 ? {} : { headers: Object.fromEntries(headers) as Record<string, string> }),
    };
  }
  if (tcpSocket !== undefined) {
    const number = numberOf(tcpSocket["port"]);
    return number === undefined || tcpSocket["host"] !== undefined ? undefined : { type: "tcp", port: number };
  }
  const command = exec?.["command"];
  return Array.isArray(command) && command.length > 0 ? { type: "exec", command: { exec: command as string[] } } : undefined;
}

const defined = (tree: Tree): Tree => Object.fromEntries(Object.entries(tree).filter(([, value]) => value !== undefined));
