// A Deployment that Berth did not make, as a component with the release that runs: what becomes of each part of it, and what keeps it from being imported. Pure; nothing that has
// no place in a component is left out without a word.
import { namePattern } from "@berth/contract/names.ts";
import { ComponentSpec, defaultSpec } from "@berth/contract/spec.ts";
import { Value } from "typebox/value";
import { digestOf, repositoryOf } from "../image/reference.ts";
import { overlayTooLarge } from "../overlay/overlay.ts";
import type { Tree } from "../overlay/merge.ts";
import { imageRuntime, type ReleaseContent } from "../release/release.ts";
import { environmentOf, type ImportedEnvironment } from "./environment.ts";
import { mainContainer, note, podsOf, type Foreign, type ForeignDeployment, type ImportNote } from "./foreign.ts";
import { portsOf, type ServiceChange } from "./services.ts";
import { templateOf } from "./template.ts";

/** A Deployment as it would be imported. */
export interface PlannedImport {
  readonly component: string;
  readonly deployment: ForeignDeployment;
  /** The name of the container that is the component. */
  readonly container: string;
  /** What the cluster calls the template that its pods were made by; empty when it has none. */
  readonly templateHash: string;
  readonly pods: readonly string[];
  readonly services: readonly ServiceChange[];
  /** As the template names it. */
  readonly image: string;
  readonly spec: ComponentSpec;
  readonly environment: Pick<ImportedEnvironment, "config" | "secrets">;
  /** By its digest; undefined: it is not known which one runs. */
  readonly reference: string | undefined;
  /** Why not. */
  readonly refusals: readonly ImportNote[];
  /** What will be otherwise with its next release, or stays as it is. */
  readonly remarks: readonly ImportNote[];
}

const mostReplicas = 1_000;

/** `managed`: what another tool manages is taken over too. */
export function planDeployment(deployment: ForeignDeployment, foreign: Foreign, managed: boolean): PlannedImport {
  const { metadata, spec } = deployment;
  const component = metadata.name;
  const main = mainContainer(deployment);
  const path = `spec.template.spec.containers[${main.name}]`;
  const pods = podsOf(deployment, foreign.pods);
  const refusals = standingOf(deployment, foreign, pods.length);
  const tool = toolOf(deployment);
  if (tool !== undefined && !managed) refusals.push(note("import_managed", { name: component, tool }));
  const environment = environmentOf(main, path, foreign);
  const ports = portsOf(deployment, main, path, foreign);
  const numbers = new Map(
    ((main["ports"] ?? []) as readonly { readonly name?: string; readonly containerPort: number }[]).flatMap((port) =>
      port.name === undefined ? [] : [[port.name, port.containerPort] as const],
    ),
  );
  const template = templateOf(deployment, main, component, { env: environment.others, ports: numbers, path });
  const image = String(main["image"]);
  const digests = new Set(
    pods.map((pod) => digestOf(pod.status?.containerStatuses?.find(({ name }) => name === main.name)?.imageID ?? "")),
  );
  const [digest] = digests;
  if (digests.size > 1) refusals.push(note("import_images", { name: component }));
  else if (pods.length > 0 && digest === undefined) refusals.push(note("import_image", { name: component, image }));
  const made: ComponentSpec = {
    ...defaultSpec("worker"),
    image,
    ...commandsOf(main, path, refusals),
    ...(typeof main["workingDir"] === "string" ? { workdir: main["workingDir"] } : {}),
    env: { ...environment.literals },
    secrets: Object.fromEntries(Object.entries(environment.secrets).map(([variable, { secret }]) => [variable, secret])),
    ports: ports.ports,
    resources: { ...template.resources },
    probes: { ...template.probes },
    strategy: strategyOf(deployment),
    replicas: spec.replicas ?? 1,
    gracePeriod: graceOf(spec.template.spec),
    securityProfile: "baseline",
    ...(template.overlay === undefined ? {} : { kubernetes: { Deployment: template.overlay } }),
  };
  return {
    component,
    deployment,
    container: main.name,
    templateHash: pods[0]?.metadata.labels?.["pod-template-hash"] ?? "",
    pods: pods.map((pod) => pod.metadata.name),
    services: ports.services,
    image,
    spec: made,
    environment,
    reference: digest === undefined ? undefined : `${repositoryOf(image)}@${digest}`,
    refusals: [...refusals, ...environment.refusals, ...ports.refusals, ...template.refusals, ...boundsOf(made)],
    remarks: [...ports.remarks, ...template.remarks],
  };
}

/** What the release is made of that runs: exactly what its pods were given, so without what Berth gives to those that it starts itself. */
export function importedContent({ spec, environment, reference = "" }: PlannedImport): ReleaseContent {
  return {
    artifactDigest: digestOf(reference) ?? "",
    config: { ...spec.env, ...environment.config },
    secretRefs: Object.fromEntries(Object.entries(spec.secrets).map(([variable, secret]) => [variable, { secret, version: 1 }])),
    spec,
    runtime: imageRuntime(spec, reference),
  };
}

/** Whether it stands still, and whether what Berth makes for it has room beside it. */
function standingOf({ metadata, spec, status }: ForeignDeployment, foreign: Foreign, pods: number): ImportNote[] {
  const { name } = metadata;
  const found: ImportNote[] = [];
  const wanted = spec.replicas ?? 1;
  if (!new RegExp(namePattern).test(name)) found.push(note("import_name", { name }));
  if (wanted === 0) found.push(note("import_stopped", { name }));
  else if (
    spec.paused === true ||
    (status?.observedGeneration ?? 0) < (metadata.generation ?? 0) ||
    status?.updatedReplicas !== wanted ||
    status.replicas !== wanted ||
    pods !== wanted
  )
    found.push(note("import_unsettled", { name }));
  if (wanted > mostReplicas)
    found.push(note("import_field", { path: "spec.replicas", reason: `a component has ${String(mostReplicas)} instances at most` }));
  if ((spec.selector.matchExpressions ?? []).length > 0)
    found.push(note("import_field", { path: "spec.selector.matchExpressions", reason: "pods are found by matchLabels alone" }));
  for (const scaler of foreign.autoscalers)
    if (scaler.target === name) found.push(note("import_autoscaled", { name, autoscaler: scaler.name }));
    else if (scaler.name === name) found.push(note("import_name_taken", { kind: "HorizontalPodAutoscaler", name }));
  if (foreign.budgets.includes(name)) found.push(note("import_name_taken", { kind: "PodDisruptionBudget", name }));
  return found;
}

/** Who made it, where that is a tool that would make it again. */
function toolOf({ metadata: { labels = {}, annotations = {} } }: ForeignDeployment): string | undefined {
  const by = labels["app.kubernetes.io/managed-by"];
  if (by !== undefined && by !== "kubectl") return by;
  if (annotations["meta.helm.sh/release-name"] !== undefined) return "Helm";
  if (annotations["argocd.argoproj.io/tracking-id"] !== undefined || labels["argocd.argoproj.io/instance"] !== undefined) return "Argo CD";
  return labels["kustomize.toolkit.fluxcd.io/name"] === undefined ? undefined : "Flux";
}

/** An image's `command` is what Berth calls its entry point. */
function commandsOf(main: Tree, path: string, refusals: ImportNote[]): Pick<ComponentSpec, "command" | "entrypoint"> {
  const words = (key: string): string[] | undefined => {
    const said = main[key] as readonly string[] | undefined;
    if (said?.some((word) => /(?<!\$)\$\(\w+\)/.test(word)) === true)
      refusals.push(note("import_field", { path: `${path}.${key}`, reason: "it is made of variables, by $(NAME)" }));
    return said === undefined || said.length === 0 ? undefined : said.map((word) => word.replaceAll("$$(", () => "$("));
  };
  const [entrypoint, command] = [words("command"), words("args")];
  return {
    ...(entrypoint === undefined ? {} : { entrypoint: { exec: entrypoint } }),
    ...(command === undefined ? {} : { command: { exec: command } }),
  };
}

function strategyOf({ spec: { strategy, minReadySeconds = 0, progressDeadlineSeconds } }: ForeignDeployment): ComponentSpec["strategy"] {
  const { maxSurge, maxUnavailable } = strategy?.rollingUpdate ?? {};
  const count = (value: unknown): value is number => typeof value === "number";
  return {
    type: strategy?.type === "Recreate" ? "recreate" : "rolling",
    // Percentages are a quarter more and none fewer, as Berth does it by itself.
    ...(count(maxSurge) ? { maxSurge } : {}),
    ...(count(maxUnavailable) ? { maxUnavailable } : {}),
    ...(minReadySeconds > 0 ? { minReady: minReadySeconds * 1_000 } : {}),
    ...(progressDeadlineSeconds === undefined ? {} : { progressDeadline: progressDeadlineSeconds * 1_000 }),
  };
}

const graceOf = ({ terminationGracePeriodSeconds: seconds }: Tree & { readonly terminationGracePeriodSeconds?: unknown }): number =>
  (typeof seconds === "number" ? seconds : 30) * 1_000;

/** What is larger than a component may be. */
function boundsOf(spec: ComponentSpec): ImportNote[] {
  const tooLarge = overlayTooLarge(spec.kubernetes ?? {});
  return [
    ...(tooLarge === undefined ? [] : [note("import_field", { path: "spec.template", reason: tooLarge.reason })]),
    ...[...Value.Errors(ComponentSpec, spec)]
      .slice(0, 5)
      .map((one) => note("import_field", { path: one.instancePath, reason: one.message })),
  ];
}
