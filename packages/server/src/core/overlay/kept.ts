// What of an object no overlay changes: what Berth finds it by, what makes a release what it is, and what a rollout relies on. Everything is closed that is not open. Pure.
import type { OverlayKind } from "@berth/contract/overlay.ts";
import { canonicalJson } from "../canonical.ts";
import { at, isTree, keyOf, own, type Path, type Refusal, type Tree } from "./merge.ts";

/** `marks`: labels or annotations, of which new ones may come. `items`: of a list with names, those that Berth wrote obey `known`, new ones are open. */
type Rule =
  | "open"
  | "marks"
  | { readonly closed: string }
  | { readonly keys: Readonly<Record<string, Rule>>; readonly others: Rule }
  | { readonly known: Rule };

const closed = (way: string): Rule => ({ closed: way });
const berths = closed("Leave it out: Berth needs it as it is.");
const keys = (of: Readonly<Record<string, Rule>>, others: Rule = berths): Rule => ({ keys: of, others });

const metadata = keys({ labels: "marks", annotations: "marks" });
const variables = closed("Set it under `environment:` of the service, or with `berth config set`.");
const ports = closed("Write ports under `ports:` or `x-berth.ports` of the service.");
const mounts = closed("Write volumes under `volumes:` of the service.");
const grace = closed("Write `stop_grace_period` or `x-berth.gracePeriod`.");
const runs = closed("Write `restart:` of the service.");

const mainContainer = keys(
  {
    name: berths,
    image: closed("Write `image:` or `build:` of the service: a release is known by it."),
    command: closed("Write `entrypoint:` of the service."),
    args: closed("Write `command:` of the service."),
    workingDir: closed("Write `working_dir:` of the service."),
    env: { known: variables },
    ports: { known: ports },
    volumeMounts: { known: mounts },
    lifecycle: keys(
      {
        preStop: closed(
          "Handle SIGTERM in the program: Berth keeps the two seconds before it for gateways to learn that the pod is going.",
        ),
      },
      "open",
    ),
  },
  "open",
);

const template = keys({
  metadata,
  spec: keys(
    {
      containers: { known: mainContainer },
      volumes: { known: mounts },
      restartPolicy: runs,
      terminationGracePeriodSeconds: grace,
      activeDeadlineSeconds: closed("Leave it out: an instance runs until Berth ends it, and `berth run` has a deadline of its own."),
      ephemeralContainers: closed("Write it under `containers`."),
    },
    "open",
  ),
});

const rules: Readonly<Record<OverlayKind, Rule>> = {
  Deployment: keys({ metadata, spec: keys({ template, minReadySeconds: "open", progressDeadlineSeconds: "open" }) }),
  Job: keys({ metadata, spec: keys({ template }) }),
  Service: keys({
    metadata,
    spec: keys({
      ports: { known: keys({ appProtocol: "open" }, ports) },
      sessionAffinity: "open",
      sessionAffinityConfig: "open",
      internalTrafficPolicy: "open",
      trafficDistribution: "open",
      ipFamilies: "open",
      ipFamilyPolicy: "open",
      type: closed("Users come in by the cluster's gateway: give the component a host or a path under `x-berth.domains`."),
    }),
  }),
  HTTPRoute: keys({
    metadata,
    spec: keys({
      rules: "open",
      hostnames: closed("Write `x-berth.domains` of the service."),
      parentRefs: closed("Which gateway leads users in is a matter of the cluster."),
    }),
  }),
  PersistentVolumeClaim: keys({
    metadata,
    spec: keys({
      accessModes: "open",
      resources: "open",
      storageClassName: "open",
      volumeAttributesClassName: "open",
      dataSource: "open",
      dataSourceRef: "open",
    }),
  }),
  PodDisruptionBudget: keys({ metadata, spec: keys({ maxUnavailable: "open", minAvailable: "open", unhealthyPodEvictionPolicy: "open" }) }),
};

/** Of a rule that leads users, what may be said: where it leads and when are Berth's. */
const ofRoute: ReadonlySet<string> = new Set(["filters", "timeouts", "retry", "sessionPersistence"]);

/** What labels and annotations begin with that are Berth's own, or have a meaning to what Berth does. */
const reserved =
  /^(?:berth\.|app\.kubernetes\.io\/(?:name|instance|part-of|managed-by)$|controller\.kubernetes\.io\/pod-deletion-cost$|pod-template-hash$)/;

/** Whether a label or annotation of this name is no overlay's to say. */
export const isReserved = (key: string): boolean => reserved.test(key);

/** What the merged object has that it may not have been given. */
export function closedTo(kind: OverlayKind, base: Tree, tree: Tree): Refusal[] {
  const found: Refusal[] = [];
  compare(kind, rules[kind], base, tree, "", found);
  if (kind === "HTTPRoute") compareRules(base, tree, found);
  return found;
}

function compare(kind: OverlayKind, rule: Rule, base: unknown, now: unknown, path: Path, found: Refusal[]): void {
  if (rule === "open" || isSame(base, now)) return;
  if (rule === "marks") return compareMarks(base, now, path, found);
  if ("closed" in rule) {
    found.push({ path, reason: base === undefined ? "it is not open to overlays" : "it is Berth's to say", way: rule.closed });
    return;
  }
  if ("known" in rule) return compareItems(kind, rule.known, base, now, path, found);
  const [before, after] = [isTree(base) ? base : {}, isTree(now) ? now : {}];
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const inner = Object.hasOwn(rule.keys, key) ? rule.keys[key] : undefined;
    compare(kind, inner ?? rule.others, own(before, key), own(after, key), at(path, key), found);
  }
}

function compareItems(kind: OverlayKind, known: Rule, base: unknown, now: unknown, path: Path, found: Refusal[]): void {
  const key = keyOf(kind, path.split(".").at(-1) ?? "") ?? "name";
  const itemsOf = (list: unknown) =>
    new Map(Array.isArray(list) ? list.filter(isTree).map((item): [unknown, Tree] => [own(item, key), item]) : []);
  const after = itemsOf(now);
  for (const [name, item] of itemsOf(base)) {
    const place = `${path}[${String(name)}]`;
    const still = after.get(name);
    if (still === undefined) found.push({ path: place, reason: "it cannot be taken away", way: "Leave out `$patch` here." });
    else compare(kind, known, item, still, place, found);
  }
  // A Service's ports are what its siblings and its routes were told.
  if (kind === "Service" && after.size > itemsOf(base).size)
    found.push({ path, reason: "a port cannot be added", way: "Write ports under `ports:` or `x-berth.ports` of the service." });
}

function compareMarks(base: unknown, now: unknown, path: Path, found: Refusal[]): void {
  const [before, after] = [isTree(base) ? base : {}, isTree(now) ? now : {}];
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const place = `${path}[${key}]`;
    if (own(before, key) !== own(after, key) && (Object.hasOwn(before, key) || reserved.test(key)))
      found.push({ path: place, reason: "it is Berth's own, by which it finds what it made", way: "Choose another name." });
    else if (Object.hasOwn(after, key) && typeof own(after, key) !== "string")
      found.push({ path: place, reason: "it is no text", way: "Put it into quotes." });
  }
}

function compareRules(base: Tree, tree: Tree, found: Refusal[]): void {
  const rulesOf = (of: Tree): readonly unknown[] => {
    const spec = own(of, "spec");
    const list = isTree(spec) ? own(spec, "rules") : undefined;
    return Array.isArray(list) ? list : [];
  };
  const after = rulesOf(tree);
  const told = new Set<string>();
  for (const [index, before] of rulesOf(base).entries()) {
    const [was, is] = [isTree(before) ? before : {}, isTree(after[index]) ? after[index] : {}];
    for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
      if (isSame(own(was, key), own(is, key)) || ofRoute.has(key) || told.has(key)) continue;
      told.add(key);
      found.push({
        path: `spec.rules[0].${key}`,
        reason: "where a rule leads, and when, is Berth's to say",
        way: `A rule may be given ${[...ofRoute].join(", ")}.`,
      });
    }
  }
}

const isSame = (one: unknown, other: unknown): boolean => canonicalJson(one ?? null) === canonicalJson(other ?? null);
