// What is in a namespace that Berth did not make: read once, when somebody asks what an import would be, and kept nowhere.
import {
  mainContainer,
  type Foreign,
  type ForeignDeployment,
  type ForeignOther,
  type ForeignPod,
  type ForeignService,
} from "../../core/imports/foreign.ts";
import { sourcesOf } from "../../core/imports/environment.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { listed } from "../../kubernetes/list.ts";
import type { KubeObject, Listed } from "../../kubernetes/objects.ts";
import { mark } from "./names.ts";
import type { ConfigMap, Secret } from "./objects.ts";
import type { Autoscaler } from "./autoscaler.ts";

interface Ingress extends KubeObject {
  readonly spec?: {
    readonly defaultBackend?: Backend;
    readonly rules?: readonly { readonly http?: { readonly paths?: readonly { readonly backend?: Backend }[] } }[];
  };
}
interface Backend {
  readonly service?: { readonly name?: string };
}
interface Route extends KubeObject {
  readonly spec?: { readonly rules?: readonly { readonly backendRefs?: readonly { readonly kind?: string; readonly name: string }[] }[] };
}

/** Kinds that run programs and cannot be imported: they are told, so that nobody takes them for imported. */
const others = ["StatefulSet", "CronJob"] as const;

/** undefined: there is no such namespace. Errors: as of KubeApi.request. */
export async function readForeign(
  api: KubeApi,
  installation: string,
  namespace: string,
  signal: AbortSignal,
): Promise<Foreign | undefined> {
  const home = await api.find({ kind: "Namespace", name: namespace }, { signal });
  if (home === undefined) return undefined;
  const all = <T extends Listed>(kind: Parameters<typeof listed>[1]): Promise<T[]> => listed<T>(api, kind, { namespace, signal });
  const [deployments, pods, services, ingresses, routes, autoscalers, budgets] = await Promise.all([
    all<ForeignDeployment & KubeObject>("Deployment"),
    all<ForeignPod & KubeObject>("Pod"),
    all<ForeignService & KubeObject>("Service"),
    all<Ingress>("Ingress"),
    all<Route>("HTTPRoute"),
    all<Autoscaler>("HorizontalPodAutoscaler"),
    all<KubeObject>("PodDisruptionBudget"),
  ]);
  const rest = (await Promise.all(others.map(async (kind) => (await all<KubeObject>(kind)).map((one) => ({ kind, one }))))).flat();
  // Those of an import that broke off, too: the next one goes on with them.
  const foreign = deployments.filter(
    ({ metadata }) => metadata.labels?.[mark.installation] === undefined || metadata.annotations?.[mark.imported] !== undefined,
  );
  const sources = foreign.map((one) => sourcesOf(mainContainer(one)));
  const labels = home.metadata.labels ?? {};
  const { [mark.stack]: name, [mark.stackId]: id } = labels;
  return {
    namespace,
    ...(labels[mark.installation] === installation && name !== undefined && id !== undefined ? { stack: { name, id } } : {}),
    deployments,
    pods,
    services,
    configMaps: await contents(
      new Set(sources.flatMap(({ configMaps }) => configMaps)),
      async (one) => (await api.find<ConfigMap>({ kind: "ConfigMap", namespace, name: one }, { signal }))?.data,
    ),
    secrets: await contents(new Set(sources.flatMap(({ secrets }) => secrets)), async (one) => {
      const found = await api.find<Secret>({ kind: "Secret", namespace, name: one }, { signal });
      return found === undefined ? undefined : clear(found.data);
    }),
    doors: [
      ...ingresses.map(({ metadata, spec }): ForeignOther => ({
        kind: "Ingress",
        name: metadata.name,
        services: [
          spec?.defaultBackend,
          ...(spec?.rules ?? []).flatMap((rule) => (rule.http?.paths ?? []).map(({ backend }) => backend)),
        ].flatMap((backend) => backend?.service?.name ?? []),
      })),
      ...routes
        .filter(({ metadata }) => metadata.labels?.[mark.installation] === undefined)
        .map(({ metadata, spec }): ForeignOther => ({
          kind: "HTTPRoute",
          name: metadata.name,
          services: (spec?.rules ?? []).flatMap(({ backendRefs = [] }) =>
            backendRefs.flatMap(({ kind = "Service", name: service }) => (kind === "Service" ? [service] : [])),
          ),
        })),
    ],
    autoscalers: autoscalers.flatMap(({ metadata, spec }) =>
      metadata.labels?.[mark.installation] === undefined && spec.scaleTargetRef.kind === "Deployment"
        ? [{ name: metadata.name, target: spec.scaleTargetRef.name }]
        : [],
    ),
    budgets: budgets.flatMap(({ metadata }) => (metadata.labels?.[mark.installation] === undefined ? [metadata.name] : [])),
    others: rest.map(({ kind, one }) => ({ kind, name: one.metadata.name, services: [] })),
  };
}

async function contents(
  names: ReadonlySet<string>,
  read: (name: string) => Promise<Readonly<Record<string, string>> | undefined>,
): Promise<Foreign["secrets"]> {
  const found = await Promise.all([...names].map(async (name) => [name, await read(name)] as const));
  return Object.fromEntries(found.flatMap(([name, data]) => (data === undefined ? [] : [[name, data]])));
}

const clear = (data: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
