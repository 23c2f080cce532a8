// Imports: what others made in a namespace becomes a stack as it runs. The cluster is told first, by marks that say all that is needed; then the stack's rows are made from these marks,
// as they are when a database was lost. Whatever ends it in between, the next import, or an adoption, goes on from there (promise 2).
import { randomUUID } from "node:crypto";
import { fill } from "@berth/contract/causes.ts";
import { errors } from "@berth/contract/errors.ts";
import type { ImportItem } from "@berth/contract/resources/imports.ts";
import { namePattern } from "@berth/contract/names.ts";
import { BerthError } from "../../core/errors.ts";
import { importedContent, planDeployment, type PlannedImport } from "../../core/imports/deployment.ts";
import { note, ownLabel, type Foreign, type ForeignDeployment, type ImportNote } from "../../core/imports/foreign.ts";
import { isBelow } from "../../core/image/reference.ts";
import { releaseHash } from "../../core/release/release.ts";
import type { ReleaseRecord } from "../../core/release/record.ts";
import { EngineFailure, type Engine, type Workload } from "../../engines/engine.ts";
import { namespaceOf } from "../../engines/kubernetes/names.ts";
import { transaction } from "../../db/transaction.ts";
import type { AdoptionService } from "../adoption/service.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit } from "../intent.ts";
import * as store from "./store.ts";

export interface WantedImport {
  readonly cluster: string;
  readonly namespace: string;
  readonly stack?: string;
  readonly only?: readonly string[];
  readonly managed?: boolean;
  readonly dryRun?: boolean;
}
interface Answer {
  cluster: string;
  namespace: string;
  stack: string;
  items: ImportItem[];
}
export type ImportService = ReturnType<typeof createImportService>;

interface Home {
  readonly id: string;
  readonly name: string;
  /** undefined: the stack is new. */
  readonly known: store.KnownStack | undefined;
}

interface Planned {
  readonly item: ImportItem;
  /** undefined: it is not to be imported, or it is already. */
  readonly planned: PlannedImport | undefined;
}

export function createImportService(deps: ResourceDeps, adoption: Pick<AdoptionService, "adopt">) {
  return {
    /**
     * What is possible is imported, and what is not is told; with `only`, all that is named or nothing. Errors: `not_found` for the cluster or namespace; `wrong_state` where nothing can be
     * imported, or something of it cannot; `conflict` when another stack has the name; those of the engine.
     */
    async importNamespace(call: Call, wanted: WantedImport): Promise<Answer> {
      const { cluster, namespace } = wanted;
      const engine = await engineOf(cluster);
      const foreign = await engine.foreign(namespace, call.signal);
      if (foreign === undefined)
        throw new BerthError("not_found", {
          kind: "namespace",
          name: namespace,
          hint: `\`kubectl get namespaces\` shows those of ${cluster}.`,
        });
      const home = await homeOf(wanted, foreign);
      const all = await planAll(engine, call, wanted, foreign, home);
      const answer = { cluster, namespace, stack: home.name, items: all.map(({ item }) => item) };
      const possible = all.flatMap(({ planned }) => planned ?? []);
      const refused = all.filter(({ item }) => item.state === "refused");
      if (wanted.dryRun === true || possible.length === 0) return answer;
      if (wanted.only !== undefined && refused.length > 0) return answer;
      const runsAsTold = await takeAll(engine, call, wanted, home, possible);
      return { ...answer, items: answer.items.map((item) => runsAsTold.get(item.name) ?? item) };
    },
  };

  async function engineOf(cluster: string): Promise<Engine & Required<Pick<Engine, "foreign" | "takeIn">>> {
    const found = await store.clusterNamed(deps.db, cluster);
    if (found === undefined)
      throw new BerthError("not_found", { kind: "cluster", name: cluster, hint: "`berth clusters list` shows them." });
    const engine = deps.places.engine(cluster);
    const refuse = (reason: string, hint: string): BerthError => new BerthError("wrong_state", { verb: "Importing", reason, hint });
    if (found.draining) throw refuse(`cluster ${found.called} takes no new stacks`, "`berth clusters undrain` lets it take them again.");
    if (engine.foreign === undefined || engine.takeIn === undefined)
      throw refuse(`cluster ${found.called} is not Kubernetes`, "Name a cluster of Kubernetes: `berth clusters list` shows them.");
    return engine as Engine & Required<Pick<Engine, "foreign" | "takeIn">>;
  }

  /** The stack that the namespace belongs to, or a new one. */
  async function homeOf({ cluster, namespace, stack }: WantedImport, foreign: Foreign): Promise<Home> {
    const name = foreign.stack?.name ?? stack ?? namespace;
    if (foreign.stack !== undefined && stack !== undefined && stack !== name)
      throw new BerthError("wrong_state", {
        verb: "Importing",
        reason: `namespace ${namespace} belongs to stack ${name}`,
        hint: `Leave --name out: what is left there goes into ${name}.`,
      });
    if (!new RegExp(namePattern).test(name))
      throw new BerthError("wrong_state", { verb: "Importing", reason: `${name} can be no stack's name`, hint: "Name one with --name." });
    if (namespace === namespaceOf({ stack: name }))
      throw new BerthError("wrong_state", {
        verb: "Importing",
        reason: `namespace ${namespace} would be Berth's own as that of a stack ${name}, and be deleted with it`,
        hint: "Give the stack another name.",
      });
    const known = await store.stackNamed(deps.db, name);
    if (known !== undefined && (known.namespace !== namespace || known.cluster !== cluster || known.deleting))
      throw new BerthError("conflict", { kind: "stack", name });
    return { id: foreign.stack?.id ?? known?.id ?? randomUUID(), name, known };
  }

  async function planAll(engine: Engine, call: Call, wanted: WantedImport, foreign: Foreign, home: Home): Promise<Planned[]> {
    const { only, managed = false } = wanted;
    const named = new Set(only?.map((one) => one.toLowerCase()));
    const isMeant = (kind: string, name: string): boolean => only === undefined || named.has(`${kind.toLowerCase()}/${name}`);
    const secrets = new Map<string, string>();
    const planned: Planned[] = [];
    for (const deployment of foreign.deployments.toSorted((one, other) => (one.metadata.name < other.metadata.name ? -1 : 1))) {
      const { name, labels } = deployment.metadata;
      if (!isMeant("Deployment", name)) continue;
      if (labels?.[ownLabel] !== undefined && home.known?.components.includes(labels["berth.component"] ?? "") === true) {
        // Of Berth's own ones nobody asks.
        if (labels["berth.component"] === name) planned.push({ item: bare("Deployment", name, "known", []), planned: undefined });
        continue;
      }
      planned.push(await planOne(engine, call, deployment, { foreign, home, managed, secrets }));
    }
    const others = foreign.others.filter(({ kind, name }) => isMeant(kind, name));
    const missing = [...named].filter(
      (one) =>
        !planned.some(({ item }) => `deployment/${item.name}` === one) &&
        !others.some(({ kind, name }) => `${kind.toLowerCase()}/${name}` === one),
    );
    if (missing.length > 0)
      throw new BerthError("not_found", {
        kind: "object",
        name: missing.join(", "),
        hint: "Deployments can be imported; name them as `deployment/NAME`.",
      });
    return [
      ...planned,
      ...others.map(({ kind, name }) => ({ item: bare(kind, name, "refused", [note("import_kind", { kind })]), planned: undefined })),
    ];
  }

  async function planOne(
    engine: Engine,
    call: Call,
    deployment: ForeignDeployment,
    {
      foreign,
      home,
      managed,
      secrets,
    }: { readonly foreign: Foreign; readonly home: Home; readonly managed: boolean; readonly secrets: Map<string, string> },
  ): Promise<Planned> {
    const planned = planDeployment(deployment, foreign, managed);
    const { component, spec, environment, services, pods, reference, remarks } = planned;
    const refusals: ImportNote[] = [...planned.refusals];
    if (home.known?.components.includes(component) === true) refusals.push(note("import_component_taken", { name: component }));
    if (deps.registry !== undefined && isBelow(deps.registry, planned.image))
      refusals.push(note("import_image_of_others", { image: planned.image }));
    for (const { path, reason } of engine.overlayRefusals?.(await workloadOf(planned, call, home, foreign.namespace)) ?? [])
      refusals.push(note("import_field", { path, reason }));
    const stored = await store.firstSecrets(
      deps.db,
      deps.secretBox,
      home.id,
      Object.values(environment.secrets).map(({ secret }) => secret),
    );
    for (const { secret, value } of Object.values(environment.secrets)) {
      if ((secrets.get(secret) ?? stored[secret] ?? value) !== value)
        refusals.push(note("import_secret_differs", { secret, name: component }));
      secrets.set(secret, value);
    }
    const item: ImportItem = {
      ...bare("Deployment", component, refusals.length === 0 ? "possible" : "refused", [...refusals, ...remarks]),
      instances: pods.length,
      ...(reference === undefined ? {} : { image: reference }),
      services: services.map(({ name }) => name),
      config: Object.keys(environment.config).toSorted(),
      spec,
    };
    return { item, planned: refusals.length === 0 ? planned : undefined };
  }

  /** As the release of it says that runs. Its variables are those that its pods have. */
  async function workloadOf(planned: PlannedImport, call: Call, home: Home, namespace: string): Promise<Workload> {
    const content = importedContent(planned);
    const { spec, component, environment, reference = "" } = planned;
    const secrets = Object.fromEntries(Object.entries(environment.secrets).map(([variable, { value }]) => [variable, value]));
    const record: ReleaseRecord = {
      version: 1,
      team: await store.firstTeam(deps.db),
      runEnv: "production",
      release: { reason: "imported", createdBy: call.by, createdAt: deps.clock().toISOString() },
      content: content as unknown as ReleaseRecord["content"],
      config: Object.keys(environment.config).length === 0 ? {} : { component: { number: 1, values: { ...environment.config } } },
    };
    return {
      ref: { stack: home.name, component, namespace },
      stackId: home.id,
      kind: spec.kind,
      releaseHash: releaseHash(content),
      releaseNumber: 1,
      artifact: { kind: "image", reference, ...content.runtime.image },
      command: content.runtime.command,
      workdir: content.runtime.workdir,
      artifactEnv: {},
      env: { ...content.config, ...secrets },
      secretValues: Object.values(secrets),
      ports: spec.ports,
      volumes: [],
      resources: spec.resources,
      probes: spec.probes,
      restart: spec.restart,
      gracePeriod: spec.gracePeriod,
      securityProfile: spec.securityProfile,
      ...(spec.kubernetes === undefined ? {} : { kubernetes: spec.kubernetes }),
      tools: [],
      record: { ...record },
    };
  }

  /** Each by itself: one that was changed meanwhile keeps no other back. What became of them, by name. */
  async function takeAll(
    engine: Engine & Required<Pick<Engine, "takeIn">>,
    call: Call,
    { cluster, namespace }: WantedImport,
    home: Home,
    possible: readonly PlannedImport[],
  ): Promise<Map<string, ImportItem>> {
    await transaction(deps.db, (trx) =>
      audit(trx, call, "installation.import", `stack:${home.name}`, {
        cluster,
        namespace,
        components: possible.map(({ component }) => component),
      }),
    );
    const fence = { installation: deps.installation(), epoch: await store.epochOf(deps.db), generation: await store.nextFence(deps.db) };
    const done = new Map<string, ImportItem>();
    for (const planned of possible) {
      const { component, deployment, container, templateHash, services, pods, reference, environment, spec, remarks } = planned;
      const { name, uid = "", generation = 0 } = deployment.metadata;
      const item: ImportItem = {
        ...bare("Deployment", component, "imported", [...remarks]),
        instances: pods.length,
        ...(reference === undefined ? {} : { image: reference }),
        services: services.map((service) => service.name),
        config: Object.keys(environment.config).toSorted(),
        spec,
      };
      try {
        const workload = await workloadOf(planned, call, home, namespace);
        await engine.takeIn({ workload, deployment: { name, uid, generation }, container, templateHash, services }, fence, call.signal);
        done.set(component, item);
      } catch (error) {
        const reason = reasonOf(error);
        if (reason === undefined) throw error;
        done.set(component, { ...item, state: "refused", notes: [note("import_busy", { reason }), ...item.notes] });
      }
    }
    const { left } = await adoption.adopt(call, [home.name]);
    for (const { component, notes } of left) {
      const item = done.get(component);
      if (item !== undefined) done.set(component, { ...item, state: "refused", notes: [...notes, ...item.notes] });
    }
    return done;
  }
}

/** undefined: it is none that has to do with what was imported. */
function reasonOf(error: unknown): string | undefined {
  if (error instanceof EngineFailure && !error.retryable) return error.message;
  return error instanceof BerthError && error.code === "wrong_state" ? fill(errors[error.code].detail, error.params) : undefined;
}

const bare = (kind: string, name: string, state: ImportItem["state"], notes: ImportItem["notes"]): ImportItem => ({
  kind,
  name,
  state,
  services: [],
  config: [],
  notes,
});
