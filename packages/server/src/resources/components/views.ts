// What people look at most: a stack's components, one of them, and what runs of it. Read once for all who may do the same there, and put into words once, until it changes.
import type { Component, InstanceView } from "@berth/contract/resources/components.ts";
import { instanceVerbs } from "../../core/allowed.ts";
import type { Page } from "../../core/page.ts";
import { Rendered } from "../../core/rendered.ts";
import type { Read } from "../../db/views.ts";
import type { Call, Versioned } from "../call.ts";
import type { CertificateService } from "../certificates/service.ts";
import type { ResourceDeps } from "../deps.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import type { MayHere, StackHandle, StackService } from "../stacks/service.ts";
import { unknownSince } from "../unknown.ts";
import { partIds } from "./parts.ts";
import { clusterParts, presentComponent } from "./present.ts";
import * as store from "./store.ts";

type ComponentsQuery = ListRequest & Pick<store.ComponentListQuery, "kind" | "state">;
type InstancesQuery = ListRequest & Pick<store.InstanceListQuery, "phase" | "ready" | "track">;

/** Where a component is reached, in each of its clusters. */
interface Doors {
  readonly routes: readonly { readonly host: string; readonly path: string }[];
  readonly parts: readonly { readonly cluster: string; readonly routes: Doors["routes"] }[];
}

/** `doors` of each component, and what was said of them: addresses, certificates and whether a cluster answers are not the database's alone. */
interface Shown<T> {
  readonly told: T;
  readonly doors: readonly Doors[];
  readonly around: string;
}

const doorsOf = ({ routes, parts }: store.ComponentListRow): Doors => ({
  routes,
  parts: parts.map((part) => ({ cluster: part.cluster, routes: part.routes })),
});
/** What a row's answer is made of, as the database says what changed. */
const idsOf = ({ id, parts }: store.ComponentListRow): string[] => [id, ...parts.map((part) => part.id)];

/** Of what is kept beside its words, for each component; bytes, roughly. */
const beside = 500;

/** Each stack as it was read once has a number: what was made of it is right for no other reading. */
const numbers = new WeakMap<StackHandle, number>();
let given = 0;

function numberOf(stack: StackHandle): number {
  const known = numbers.get(stack);
  if (known !== undefined) return known;
  given += 1;
  numbers.set(stack, given);
  return given;
}

export type ComponentViews = ReturnType<typeof createComponentViews>;

export function createComponentViews(deps: ResourceDeps, stacks: StackService, certificates: CertificateService) {
  /** What of an answer is no row's, now. */
  async function surroundings(stack: StackHandle) {
    const traffic = deps.places.traffic(stack.cluster);
    const unknownIn = (cluster: string) => unknownSince(deps.addedClusters, cluster);
    const unknown = unknownIn(stack.cluster);
    const autoscaler = deps.places.engine(stack.cluster).autoscale !== undefined;
    const warningsOf = await certificates.warnings();
    const urls = (cluster: string, routes: Doors["routes"]): string[] =>
      routes.map(({ host, path }) => deps.places.traffic(cluster).publicUrl(host, path));
    return {
      present: (row: store.ComponentListRow, may: MayHere): Component =>
        presentComponent(
          stack,
          row,
          traffic,
          may,
          warningsOf,
          unknown,
          autoscaler,
          clusterParts(stack.cluster, row, deps.places, unknownIn),
        ),
      of: (doors: readonly Doors[]): string =>
        JSON.stringify([
          unknown,
          autoscaler,
          doors.map(({ routes, parts }) => [
            urls(stack.cluster, routes),
            warningsOf(routes.map(({ host }) => host)),
            parts.map((part) => [unknownIn(part.cluster), urls(part.cluster, part.routes)]),
          ]),
        ]),
    };
  }

  /** By what else the answer depends on: all that is not read for it. */
  async function keyOf(call: Call, stack: StackHandle, what: string): Promise<{ readonly key: string; readonly may: MayHere }> {
    const held = await stacks.heldIn(call, stack);
    return { key: `${what}\n${String(numberOf(stack))}\n${[...held].sort().join(" ")}`, may: stacks.mayWith(held) };
  }

  return {
    /** As it is in the database now, after a change of it; undefined when there is none of that name. */
    async now(call: Call, stack: StackHandle, name: string): Promise<Versioned<Component> | undefined> {
      const [row] = await store.listComponents(deps.db, { stackId: stack.id, name, page: slice(store.componentList, { limit: 1 }) });
      if (row === undefined) return undefined;
      const { present } = await surroundings(stack);
      return { body: present(row, stacks.mayWith(await stacks.heldIn(call, stack))), revision: String(row.revision) };
    },

    /** undefined when there is none of that name. */
    async one(call: Call, stack: StackHandle, name: string): Promise<Versioned<Rendered<Component>> | undefined> {
      const { key, may } = await keyOf(call, stack, `component ${name}`);
      const { present, of } = await surroundings(stack);
      const read = async (): Promise<Read<Shown<Versioned<Rendered<Component>>> | undefined>> => {
        const [row] = await store.listComponents(deps.db, { stackId: stack.id, name, page: slice(store.componentList, { limit: 1 }) });
        if (row === undefined) return { value: undefined, of: [], bytes: 0 };
        const body = new Rendered(present(row, may));
        const doors = [doorsOf(row)];
        return {
          value: { told: { body, revision: String(row.revision) }, doors, around: of(doors) },
          of: [stack.id, ...idsOf(row)],
          bytes: body.bytes.length + beside,
        };
      };
      return (await deps.views.get(call, key, read, (shown) => shown?.around === of(shown?.doors ?? [])))?.told;
    },

    async list(call: Call, stack: StackHandle, query: ComponentsQuery): Promise<Rendered<Page<Component>>> {
      const { key, may } = await keyOf(call, stack, `components ${JSON.stringify(query)}`);
      const { present, of } = await surroundings(stack);
      const read = async (): Promise<Read<Shown<Rendered<Page<Component>>>>> => {
        const page = slice(store.componentList, query);
        const rows = await store.listComponents(deps.db, { stackId: stack.id, page, kind: query.kind, state: query.state });
        const told = new Rendered(toPage(rows, page, (row) => present(row, may)));
        const doors = rows.map(doorsOf);
        return {
          value: { told, doors, around: of(doors) },
          of: [stack.id, ...rows.flatMap(idsOf)],
          bytes: told.bytes.length + (rows.length + 1) * beside,
        };
      };
      return (await deps.views.get(call, key, read, ({ doors, around }) => around === of(doors))).told;
    },

    /** undefined when there is no component of that name. */
    async instances(
      call: Call,
      stack: StackHandle,
      name: string,
      query: InstancesQuery,
    ): Promise<Rendered<Page<InstanceView>> | undefined> {
      const { key, may } = await keyOf(call, stack, `instances ${name} ${JSON.stringify(query)}`);
      return deps.views.get(call, key, async () => {
        const page = slice(store.instanceList, query);
        const component = await store.findPlace(deps.db, stack.id, name);
        if (component === undefined) return { value: undefined, of: [], bytes: 0 };
        const { phase, ready, track } = query;
        const rows = await store.listInstances(deps.db, { componentId: component.id, page, phase, ready, track });
        const deleting = stack.deleting || component.delete_requested_at !== null;
        const parts = await partIds(deps.db, component.id);
        const isPlaced = component.placed || parts.length > 0;
        const value = new Rendered(
          toPage(rows, page, ({ seen, cluster }) => ({
            ...seen,
            ...(isPlaced ? { cluster: cluster ?? stack.cluster } : {}),
            allowed: instanceVerbs(may, { phase: seen.phase, deleting }),
          })),
        );
        return { value, of: [stack.id, component.id, ...parts], bytes: value.bytes.length + beside };
      });
    },
  };
}
