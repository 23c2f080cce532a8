// `deploy` and its older spellings at the service: how many, how much, how a release replaces the one before, and when to start again.
import type { ComponentSpec, Strategy } from "@berth/contract/spec.ts";
import { get, type Mapping, type Tree } from "./tree.ts";
import { bytesOf, checkKeys, complain, durationOf, mappingOf, numberOf, textOf, type Place } from "./values.ts";

type Restart = ComponentSpec["restart"];
export interface Deploy {
  readonly replicas: number | undefined;
  readonly resources: ComponentSpec["resources"];
  readonly strategy: Strategy | undefined;
  readonly restart: Restart | undefined;
}

export function readDeploy(place: Place, service: Mapping): Deploy {
  const deploy = mappingOf(place, get(service, "deploy"), "deploy");
  if (deploy !== undefined) checkKeys(place, "deploy", deploy);
  const policy = section(place, deploy, "restart_policy", "restartPolicy");
  section(place, deploy, "placement", "placement");
  section(place, deploy, "rollback_config", "rollback");
  return {
    replicas: readReplicas(place, service, deploy),
    resources: readResources(place, service, deploy),
    strategy: readStrategy(place, deploy),
    restart: policyCondition(place, get(policy, "condition")) ?? readRestart(place, get(service, "restart")),
  };
}

type SectionArea = "restartPolicy" | "placement" | "rollback" | "update" | "resources" | "limits" | "reservations";
/** Sections that are harmless as a whole were noted with their key; nothing more is said about what is in them. */
function section(place: Place, tree: Mapping | undefined, key: string, area: SectionArea): Mapping | undefined {
  const found = mappingOf(place, get(tree, key), key);
  if (found !== undefined && area !== "placement" && area !== "rollback") checkKeys(place, area, found);
  return found;
}

function readReplicas(place: Place, service: Mapping, deploy: Mapping | undefined): number | undefined {
  const limits = { min: 0, max: 1000, whole: true };
  const scale = numberOf(place, get(service, "scale"), "scale", limits);
  const replicas = numberOf(place, get(deploy, "replicas"), "replicas", limits);
  return agree(place, get(service, "scale"), scale, "scale", replicas, "deploy.replicas");
}

/** Two spellings of one thing have to say the same. */
function agree(
  place: Place,
  tree: Tree | undefined,
  old: number | undefined,
  oldKey: string,
  value: number | undefined,
  key: string,
): number | undefined {
  if (old !== undefined && value !== undefined && old !== value && tree !== undefined)
    complain(place, tree.at, oldKey, `\`${oldKey}\` and \`${key}\` say different things`, `Keep \`${key}\`.`);
  return value ?? old;
}

function readResources(place: Place, service: Mapping, deploy: Mapping | undefined): ComponentSpec["resources"] {
  const resources = section(place, deploy, "resources", "resources");
  const limits = section(place, resources, "limits", "limits");
  section(place, resources, "reservations", "reservations");
  const cores = { min: 0, max: 1024, whole: false };
  const many = { min: -1, max: 4_194_304, whole: true };
  const cpu = agree(
    place,
    get(service, "cpus"),
    numberOf(place, get(service, "cpus"), "cpus", cores),
    "cpus",
    numberOf(place, get(limits, "cpus"), "cpus", cores),
    "deploy.resources.limits.cpus",
  );
  const memory = agree(
    place,
    get(service, "mem_limit"),
    bytesOf(place, get(service, "mem_limit"), "mem_limit"),
    "mem_limit",
    bytesOf(place, get(limits, "memory"), "memory"),
    "deploy.resources.limits.memory",
  );
  const processes = agree(
    place,
    get(service, "pids_limit"),
    numberOf(place, get(service, "pids_limit"), "pids_limit", many),
    "pids_limit",
    numberOf(place, get(limits, "pids"), "pids", many),
    "deploy.resources.limits.pids",
  );
  const at = get(limits, "memory")?.at ?? get(service, "mem_limit")?.at ?? service.at;
  if (memory !== undefined && memory > 0 && memory < 1_048_576)
    complain(place, at, "memory", "a limit below one MiB lets nothing run", "Write it with its unit, as `512m`.");
  const cpuAt = get(limits, "cpus")?.at ?? get(service, "cpus")?.at ?? service.at;
  if (cpu !== undefined && cpu > 0 && cpu < 0.01)
    complain(place, cpuAt, "cpus", "a limit below 0.01 cores lets nothing run", "Write it in cores, as `0.5`.");
  // To Compose 0 (and -1 processes) is no limit.
  return {
    ...(memory === undefined || memory === 0 ? {} : { memory }),
    ...(cpu === undefined || cpu === 0 ? {} : { cpu }),
    ...(processes === undefined || processes <= 0 ? {} : { processes }),
  };
}

function readStrategy(place: Place, deploy: Mapping | undefined): Strategy | undefined {
  const update = section(place, deploy, "update_config", "update");
  if (update === undefined) return undefined;
  const given = numberOf(place, get(update, "parallelism"), "parallelism", { min: 0, max: 1000, whole: true });
  const order = textOf(place, get(update, "order"), "order");
  const delay = durationOf(place, get(update, "delay"), "delay");
  if (order !== undefined && order !== "start-first" && order !== "stop-first")
    complain(place, get(update, "order")?.at ?? update.at, "order", `\`${order}\` is not an order`, "Write `start-first` or `stop-first`.");
  if (given === undefined && order === undefined && delay === undefined) return undefined;
  const step = given === 0 ? 1000 : (given ?? 1);
  const sizes =
    given === undefined && order === undefined
      ? {}
      : order === "stop-first"
        ? { maxSurge: 0, maxUnavailable: step }
        : { maxSurge: step, maxUnavailable: 0 };
  return { type: "rolling", ...sizes, ...(delay === undefined ? {} : { minReady: delay }) };
}

function policyCondition(place: Place, tree: Tree | undefined): Restart | undefined {
  const condition = textOf(place, tree, "condition");
  switch (condition) {
    case undefined:
      return undefined;
    case "none":
      return "never";
    case "on-failure":
      return "on-failure";
    case "any":
      return "always";
    default:
      return tree === undefined
        ? undefined
        : complain(place, tree.at, "condition", `\`${condition}\` is not a condition`, "Write `any`, `on-failure` or `none`.");
  }
}

function readRestart(place: Place, tree: Tree | undefined): Restart | undefined {
  const text = textOf(place, tree, "restart");
  if (text === undefined || text === "" || tree === undefined) return undefined;
  if (text === "no" || text === "false") return "never";
  if (text === "always" || text === "unless-stopped") return "always";
  if (text === "on-failure") return "on-failure";
  if (!/^on-failure:[0-9]+$/.test(text))
    return complain(
      place,
      tree.at,
      "restart",
      `\`${text}\` is not a way to restart`,
      'Write `always`, `unless-stopped`, `on-failure` or `"no"`.',
    );
  place.findings.note("compose_key_ignored", tree.at, place.component, {
    key: `restart: ${text}`,
    instead: "restarts go on, with growing time between them",
  });
  return "on-failure";
}
